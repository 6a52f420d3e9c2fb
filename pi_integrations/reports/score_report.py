"""The HTML report of a scored file: one self-contained page without scripts and without requests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pi_integrations.errors import PiUsageError
from pi_integrations.reports.text import clip, first_line, judge_names, judge_note, passage, visible
from pi_integrations.statistics.agreement import Interval
from pi_integrations.statistics.comparison import Comparison, PairedScores
from pi_integrations.statistics.distributions import Bin, ScoreDistribution
from pi_integrations.statistics.summary import Summary

__all__ = ["Bar", "Histogram", "Whisker", "curve_points", "histogram", "whisker", "whisker_scale", "write_report"]

# Share of a bin that stays empty between two bars.
_GAP = 0.12


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of a histogram; `kind` is `good`, `bad` or `plain`."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram over [0, 1]; with labels, bars of good exchanges grow up from `axis` and those of bad ones down.

    Attributes:
        bars: The rectangles.
        axis: Height of the zero line in the box.
        means: Kind and position, 0 to 100, of each mark of a mean.
        description: The chart in words, for screen readers.
        bins: The counts behind the bars.
        labelled: Whether any score has a label.
        unlabelled: Whether any score has none.
        tallest: Count of the tallest bar.
    """

    bars: list[Bar]
    axis: float
    means: list[tuple[str, float]]
    description: str
    bins: list[Bin]
    labelled: bool
    unlabelled: bool
    tallest: int


@dataclass(frozen=True, slots=True)
class Whisker:
    """An interval on a scale of 0 to 100, where 50 is no difference."""

    low: float
    high: float
    middle: float


def histogram(scores: ScoreDistribution, *, bins: int, noun: str) -> Histogram:
    """The histogram of `scores`; `noun` is what its description calls them."""
    counted = scores.bins(bins)
    labelled, unlabelled = any(scores.labelled), any(one.unlabelled for one in counted)
    above = max(one.good + one.unlabelled for one in counted)
    below = max(one.bad for one in counted)
    unit = 100 / max(above + below, 1)
    axis = above * unit if labelled else 100.0
    return Histogram(
        bars=[bar for i, one in enumerate(counted) for bar in _bars(one, i, bins, axis, unit)],
        axis=axis,
        means=_means(scores, labelled),
        description=_description(scores, noun, labelled),
        bins=counted,
        labelled=labelled,
        unlabelled=unlabelled,
        tallest=max(above, below),
    )


def curve_points(knots: Sequence[float]) -> str:
    """The points of an SVG polyline for the calibration curve with these knots."""
    count = len(knots) + 1
    points = [(0.0, 0.0), *((x, (i + 1) / count) for i, x in enumerate(knots)), (1.0, 1.0)]
    return " ".join(f"{100 * x:.1f},{100 - 100 * y:.1f}" for x, y in points)


def whisker_scale(comparison: Comparison) -> float:
    """The largest absolute difference in any of the comparison's intervals."""
    pairs = [comparison.total, *(pairs for _, pairs in comparison.questions)]
    intervals = [interval for interval in (one.difference() for one in pairs) if interval]
    return max((max(abs(interval.low), abs(interval.high)) for interval in intervals), default=0.0)


def whisker(interval: Interval, scale: float) -> Whisker:
    """`interval` on an axis from −`scale` to `scale`."""
    reach = scale or 1.0
    # 48, not 50: the ends stay inside the box.
    low, high, middle = (50 + 48 * value / reach for value in (interval.low, interval.high, interval.estimate))
    return Whisker(low, high, middle)


def _bars(one: Bin, index: int, bins: int, axis: float, unit: float) -> list[Bar]:
    step = 100 / bins
    x, width = (index + _GAP / 2) * step, step * (1 - _GAP)
    span = f"{one.low:.2f} to {one.high:.2f}"
    plain, good = one.unlabelled * unit, one.good * unit
    bars = [
        Bar(x, axis - plain, width, plain, "plain", f"{span}: {one.unlabelled:,} scored"),
        Bar(x, axis - plain - good, width, good, "good", f"{span}: {one.good:,} good"),
        Bar(x, axis, width, one.bad * unit, "bad", f"{span}: {one.bad:,} bad"),
    ]
    return [bar for bar in bars if bar.height > 0]


def _means(scores: ScoreDistribution, labelled: bool) -> list[tuple[str, float]]:
    if not labelled:
        return [] if scores.mean is None else [("plain", 100 * scores.mean)]
    found = [("good", scores.mean_of(True)), ("bad", scores.mean_of(False))]
    return [(kind, 100 * mean) for kind, mean in found if mean is not None]


def _description(scores: ScoreDistribution, noun: str, labelled: bool) -> str:
    if scores.mean is None:
        return f"Histogram without {noun}."
    text = f"Histogram of {scores.count:,} {noun} from 0 to 1, mean {scores.mean:.2f}."
    if not labelled:
        return text
    parts = [(name, scores.mean_of(label), count) for name, label, count in _classes(scores)]
    return text + "".join(f" {name}: {count:,}, mean {mean:.2f}." for name, mean, count in parts if mean is not None)


def _classes(scores: ScoreDistribution) -> list[tuple[str, bool, int]]:
    good, bad = scores.labelled
    return [("Good", True, good), ("Bad", False, bad)]


def write_report(
    path: Path,
    summary: Summary,
    *,
    title: str,
    created: datetime,
    source: str | None = None,
    comparison: Comparison | None = None,
) -> None:
    """Writes the report of `summary` to `path`, whole or not at all; an existing file is replaced.

    `source` is the name of the scored file; `comparison` adds a section that compares two sets of answers.

    Raises:
        PiUsageError: when the file cannot be written.
    """
    chunks = (
        _environment()
        .get_template("report.html.j2")
        .generate(
            summary=summary,
            title=title,
            created=created,
            source=source,
            comparison=comparison,
            interval=summary.total.roc_auc_interval(),
            judge=judge_names(summary.judges),
            note=judge_note(summary.judges),
            scale=whisker_scale(comparison) if comparison else 0.0,
            comparison_rows=_rows(comparison) if comparison else [],
        )
    )
    try:
        _replace(path, chunks)
    except OSError as error:
        raise PiUsageError(
            f"cannot write the report to {path}: {error.strerror}; choose a folder that exists and is writable"
        ) from None


def _rows(comparison: Comparison) -> list[tuple[str, PairedScores]]:
    return [*((question.key, pairs) for question, pairs in comparison.questions), ("Total", comparison.total)]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"passage": passage, "clip": clip, "first_line": first_line, "level": _level}
    environment.globals |= {"histogram": histogram, "curve_points": curve_points, "whisker": whisker}
    return environment


def _finalized(value: Any) -> Any:
    """Each value the template prints, with invisible characters spelled out; escaping follows."""
    # Markup comes from the template's own macros, whose values have passed here already.
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _level(score: float) -> str:
    return "low" if score < 0.4 else "mid" if score < 0.7 else "high"


def _replace(path: Path, chunks: Iterator[str]) -> None:
    """Replaces the file by a draft written beside it, so that nobody reads half a report."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("x", encoding="utf-8", newline="\n") as file:
            file.writelines(chunks)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
