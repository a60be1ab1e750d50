"""What is said about a measurement: tables, targets beside what was reached, and remarks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from bench.figures import Spread, number
from bench.machine import description

DOCUMENT = Path(__file__).parents[1] / "docs" / "BENCHMARKS.md"


class Table(Struct, frozen=True):
    """Rows of cells; the first column names the row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table, its columns padded so that it reads well as plain text too."""
        rows = [list(self.columns), *(list(row) for row in self.rows)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(self.columns))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        head, *body = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
        return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body])


class Target(Struct, frozen=True):
    """A figure with what it should be at most (or at least)."""

    what: str
    reached: Spread
    limit: float
    at_least: bool = False
    hoped_for: bool = False  # said, but neither met nor missed

    def __str__(self) -> str:
        """One line with the verdict."""
        sign = "≥" if self.at_least else "≤"
        if self.hoped_for:
            return f"{self.what}: {self.reached}; hoped for {sign} {number(self.limit)}"
        return f"{self.what}: {self.reached}; target {sign} {number(self.limit)}: {self.verdict()}"

    def verdict(self) -> str:
        """`met`, or by how much it was missed."""
        excess = self.reached.median / self.limit - 1
        missed = excess < 0 if self.at_least else excess > 0
        return f"**missed by {abs(excess):.0%}**" if missed else "met"


class NotMeasured(Exception):
    """Something is not installed, without which a measurement makes no sense."""


class Report(Struct, frozen=True):
    """A measurement's outcome."""

    name: str
    title: str
    tables: Sequence[Table]
    targets: Sequence[Target] = ()
    remarks: Sequence[str] = ()
    how: str = ""  # one sentence: how many rounds, and how long a turn was
    not_measured: Sequence[str] = ()  # what could not be measured here, and why

    def markdown(self) -> str:
        """A section of the document."""
        lines = [f"## {self.title}", "", f"`python -m bench {self.name}`"]
        for table in self.tables:
            lines += ["", table.markdown()]
        absent = [f"**not measured**: {reason}" for reason in self.not_measured]
        for items in (self.targets, absent, self.remarks):
            lines += ["", *(f"- {item}" for item in items)] if items else []
        return "\n".join(lines)


def write(report: Report, measured_on: str) -> None:
    """Puts the report in its own place in the document; what stands around it is kept."""
    section = f"<!-- {report.name} -->\n{report.markdown()}\n\n{measured_on}\n<!-- end of {report.name} -->"
    text = DOCUMENT.read_text()
    place = re.compile(f"<!-- {report.name} -->.*<!-- end of {report.name} -->", re.DOTALL)
    text, replaced = place.subn(lambda _: section, text)
    DOCUMENT.write_text(text if replaced else f"{text.rstrip()}\n\n{section}\n")


def left_out(name: str, reason: str) -> Report:
    """What stands in a measurement's place when there is none: nobody takes old figures for new ones."""
    heading = re.search(f"<!-- {name} -->\n## (.*)", DOCUMENT.read_text())
    return Report(name, heading[1] if heading else name, [], not_measured=[reason])


def measured_on(report: Report, idle_share: float) -> str:
    """The line under a section: how it was measured, how quiet the machine was before, and where."""
    quiet = f"{idle_share:.0%} of the machine's CPU was idle before the start."
    return f"*{f'{report.how} {quiet}'.strip()} {description()}*"
