"""The fenced blocks of the documentation, and what they show."""

import re
from pathlib import Path

from msgspec import Struct

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(Struct, frozen=True):
    """One fenced block. ``where``: the second word of its first line, if there is one."""

    page: str
    line: int
    language: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    text = page.read_text()
    found = []
    for fence in FENCE.finditer(text):
        language, _, where = fence[1].partition(" ")
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(page.relative_to(REPOSITORY).as_posix(), line, language, where, fence[2]))
    return found


def shows(shown: str, real: str) -> bool:
    """Whether a text is as it is shown: … alone in a line stands for any lines, elsewhere for anything in its line.

    Indents are not compared: a shown part of a larger object stands as it stands there.
    """
    pattern = ""
    for line in shown.strip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.rstrip().split("…")) + r"[^\S\n]*\n"
    return re.fullmatch(pattern, real.replace("\r\n", "\n").strip() + "\n") is not None
