"""The example in docs/CLIENT.md, as it stands there."""

import asyncio
import re
from typing import Any

import pytest

from tests.faults.process import REPOSITORY
from tests.service.running import WITHIN_S, Running


async def test_the_example_runs(notelog: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """Copied and run against an empty service, the example does what its words say."""
    (example,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "CLIENT.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/CLIENT.md", "exec"), names)
    await asyncio.wait_for(names["main"](notelog.url, None), WITHIN_S)
    printed = capsys.readouterr().out
    for part in ("meanwhile it became Note(id=1", "1 Milk, two litres", "2 NoteEdited", "it was deleted at 20"):
        assert part in printed
