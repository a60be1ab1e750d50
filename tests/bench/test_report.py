"""What the measuring tool says follows from what it saw: figures, targets, sections and the picture."""

from pathlib import Path

import pytest

from bench import picture, report, seed
from bench.__main__ import MEASUREMENTS, taken
from bench.figures import Spread, number, percentile
from bench.report import NotMeasured, Report, Table, Target
from bench.stage import Run

ONE = Spread(1.5, 1.0, 3.0)


@pytest.fixture(autouse=True)
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty page in place of docs/BENCHMARKS.md."""
    file = tmp_path / "page.md"
    file.write_text("# Benchmarks\n")
    monkeypatch.setattr(report, "DOCUMENT", file)
    return file


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    """Of the numbers 1 to 100 the 99th percentile is 99, not the largest."""
    assert percentile(range(100, 0, -1), share) == expected


def test_figures_have_three_digits_that_count() -> None:
    """Small ones too."""
    assert [number(value) for value in (12345, 123.4, 12.34, 1.234, 0.1234)] == [
        "12,345",
        "123",
        "12.3",
        "1.23",
        "0.123",
    ]


def test_what_is_hoped_for_is_neither_met_nor_missed() -> None:
    """Such a target has no verdict, and no place in the picture."""
    line = f"- {Target('speed', ONE, 2.5, at_least=True, hoped_for=True)}"
    assert "met" not in line
    assert "missed" not in line
    assert picture.bars(line) == []


@pytest.mark.parametrize("reached", [0.0, 1.5, float("inf")])
@pytest.mark.parametrize("at_least", [False, True])
def test_each_target_is_in_the_picture(reached: float, at_least: bool) -> None:
    """Zero and no bound too, at its edges."""
    target = Target("a ÷ b", Spread(reached, reached, reached), 2.0, at_least)
    (bar,) = picture.bars(f"- {target}\n")
    assert (bar.reached <= 1) == (target.verdict() == "met")


def test_a_failure_does_not_leave_old_figures_standing(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its section keeps its heading and says that nothing was measured, and what stands around it is kept."""
    for name in ("one", "two"):
        report.write(Report(name, f"Title of {name}", [Table(["a"], [[f"figure of {name}"]])]), "*then*")

    def absent(run: Run) -> Report:
        raise NotMeasured("wrk is not installed")

    monkeypatch.setitem(MEASUREMENTS, "one", absent)
    report.write(taken("one", Run(1, 1)), "*now*")
    text = page.read_text()
    assert "## Title of one" in text
    assert "**not measured**: wrk is not installed" in text
    assert "figure of one" not in text
    assert "figure of two" in text


def test_a_section_says_itself_how_it_was_measured() -> None:
    """Rounds are named only by a report that had them."""
    assert "rounds" not in report.measured_on(Report("one", "One", []), 1.0)
    assert report.measured_on(Report("one", "One", [], how=Run(2, 3).how), 1.0).startswith("*3 rounds of 2 s a turn. ")


@pytest.mark.parametrize("notes", [9, 10, 11, 100, 1000])
def test_a_log_of_so_many_notes_can_be_made(notes: int) -> None:
    """The length that is chosen for a number of notes makes exactly as many."""
    created, edited = {"at": 0, "version": 1, "data": "{}"}, {"at": 0, "version": 2, "data": "{}"}
    made = seed.rows(created, edited, seed.events_of(notes))
    assert max(row["note_id"] for row in made) == notes
