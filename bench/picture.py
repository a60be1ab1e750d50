"""The picture of docs/BENCHMARKS.md: every target beside what was reached, drawn from the page itself."""

from __future__ import annotations

import re

from msgspec import Struct

from bench.report import DOCUMENT

PICTURE = DOCUMENT.with_name("benchmarks.svg")
NUMBER = r"[\d.,]+|inf"
SHARES = (1 / 8, 8.0)  # what lies beyond is drawn at the edge; its label says the figure
# The lines that `report.Target` writes.
TARGET = re.compile(
    rf"^- (?P<what>.+): (?P<reached>{NUMBER})(?: \((?P<low>{NUMBER})–(?P<high>{NUMBER})\))?; "
    r"target (?P<sign>[≤≥]) (?P<limit>[\d.,]+): ",
    re.MULTILINE,
)
MET, MISSED = "#2f855a", "#c05621"


class Bar(Struct, frozen=True):
    """A target as a share of it: 1 is the target itself, less is better."""

    what: str
    reached: float
    low: float
    high: float
    label: str


def bars(text: str) -> list[Bar]:
    """All targets of the page, in its order."""
    return [bar(found) for found in TARGET.finditer(text)]


def bar(found: re.Match[str]) -> Bar:
    """Where more is better the share is turned over, so that the left is always the good side."""
    limit = value(found["limit"])
    values = [value(found[name] or found["reached"]) for name in ("reached", "low", "high")]
    shares = [share(size, limit, found["sign"] == "≥") for size in values]
    label = f"{found['reached']} (target {found['sign']} {found['limit']})"
    return Bar(found["what"].replace("`", ""), shares[0], min(shares[1:]), max(shares[1:]), label)


def share(size: float, limit: float, at_least: bool) -> float:
    """A figure as a share of its target, within what is drawn."""
    above, below = (limit, size) if at_least else (size, limit)
    least, most = SHARES
    return min(max(above / below, least), most) if below else most


def value(text: str) -> float:
    """A number as the page writes it."""
    return float(text.replace(",", ""))


def draw() -> None:
    """Writes the picture; with nothing measured there is none."""
    import matplotlib

    matplotlib.use("svg")
    # Texts stay texts, and the same figures give the same file.
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "notelog", "font.size": 8}
    from matplotlib import pyplot

    found = bars(DOCUMENT.read_text())
    if not found:
        return
    figure, axes = pyplot.subplots(figsize=(13, 0.6 + 0.26 * len(found)), layout="constrained")
    for place, one in enumerate(reversed(found)):
        colour = MET if one.reached <= 1 else MISSED
        axes.plot([one.low, one.high], [place, place], color=colour, linewidth=4, alpha=0.35, solid_capstyle="round")
        axes.plot([one.reached], [place], "o", color=colour)
        axes.annotate(one.label, (1.01, place), xycoords=("axes fraction", "data"), va="center")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks([2**power for power in range(-3, 4)], [f"{2**power:g} ×" for power in range(-3, 4)])
    axes.set_xlim(*SHARES)
    axes.set_yticks(range(len(found)), [one.what for one in reversed(found)])
    axes.set_xlabel("of the target: left of the line is better than it (median, lowest to highest)")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.savefig(PICTURE, metadata={"Date": None})
    pyplot.close(figure)
