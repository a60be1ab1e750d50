"""The service against its own description: what schemathesis makes of it is answered as described, never with 5xx."""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.process import Server
from tests.safety.issuer import SECRET, Issuer

LONG = os.environ.get("NOTELOG_FAULTS") == "long"
# Examples for each operation in each phase: about a minute, or about ten.
EXAMPLES_MAX = 200 if LONG else 6
# Far more than either takes on a busy machine; only a run that hangs meets it.
WITHIN_S = 3600.0 if LONG else 400.0
# In the short form other tests may keep the machine busy: there times are told, not judged.
RESPONSE_S_MAX = 1.0

ONLY_LONG = pytest.mark.skip(reason="the long form (NOTELOG_FAULTS=long) tries it with tokens too")

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.parametrize("authentication", [False, pytest.param(True, marks=[] if LONG else [ONLY_LONG])])
async def test_what_is_described_is_served(tmp_path: Path, dice: random.Random, authentication: bool) -> None:
    """Every request that schemathesis makes of the description, in all its phases, is answered as described."""
    report = tmp_path / "report.ndjson"
    environment = {"NOTELOG_AUTH_SECRET": SECRET.decode()} if authentication else {}
    async with Server(tmp_path / "data", environment=environment) as server:
        await server.start()
        code, output = await _schemathesis(server.url, report, dice.randrange(2**32))
    print(output)
    _tell_times(report)
    assert code == 0, output


async def _schemathesis(url: str, report: Path, seed: int) -> tuple[int, str]:
    """Run it from the report's folder, where it keeps what it remembers."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(CONFIGURATION)),
        *("run", f"{url}/openapi.json", "--max-examples", str(EXAMPLES_MAX), "--seed", str(seed)),
        *("--continue-on-failure", "--report", "ndjson", "--report-ndjson-path", str(report)),
        *(("--max-response-time", str(RESPONSE_S_MAX)) if LONG else ()),
    ]
    token = Issuer().token("notes:read notes:write audit:read", shared=True, iss=None, aud=None)
    environment = os.environ | {"PYTHONPATH": str(CONFIGURATION.parents[2]), "NOTELOG_TOKEN": token}
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT}
    process = await asyncio.create_subprocess_exec(*command, **pipes, cwd=report.parent, env=environment)
    try:
        async with asyncio.timeout(WITHIN_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return int(process.returncode or 0), output.decode()


def _tell_times(report: Path) -> None:
    """Print how many requests there were, and which was answered last."""
    times = [
        (interaction["response"]["elapsed"], interaction["request"]["method"], interaction["request"]["uri"][:100])
        for line in report.read_text().splitlines()
        for interaction in _interactions(json.loads(line))
        if interaction.get("response")
    ]
    slowest_s, method, uri = max(times)
    print(f"{len(times)} requests; slowest answer after {slowest_s:.3f} s: {method} {uri}")


def _interactions(event: dict[str, Any]) -> list[dict[str, Any]]:
    (content,) = event.values()
    recorder = content.get("recorder") if isinstance(content, dict) else None
    return list(recorder.get("interactions", {}).values()) if recorder else []
