"""A table of jobs, and the figures of one job, for the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from pi_integrations.cli.console import shown_message
from pi_integrations.models import GenerationFigures, JobState, JobStatus
from pi_integrations.reports.text import visible

__all__ = ["created", "figures_lines", "jobs_table", "rows_of"]

_STYLES = {JobState.DONE: "green", JobState.ERROR: "bold red", JobState.CANCELLED: "yellow", JobState.RUNNING: "cyan"}
_HEADING = ["job", "kind", "state", "rows", "age"]
_NUMBERS = ("rows", "age")
_NONE = "–"


def jobs_table(jobs: Sequence[tuple[str, JobStatus]]) -> list[Text]:
    """A heading, and a line for each kind and status: id, kind, state, rows, age and last message.

    The message comes last, so that a narrow terminal cuts it and never an id.
    """
    cells = [_HEADING, *(_cells(kind, status) for kind, status in jobs)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(_HEADING))]
    messages = ["last message", *(_last_message(status) for _, status in jobs)]
    styles = ["bold", *(_STYLES.get(status.state, "") for _, status in jobs)]
    return [_table_line(*line, widths) for line in zip(cells, messages, styles, strict=True)]


def _table_line(cells: Sequence[str], message: str, style: str, widths: Sequence[int]) -> Text:
    padded = [
        cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
        for name, cell, width in zip(_HEADING, cells, widths, strict=True)
    ]
    line = Text("  ".join([*padded, message]))
    begin = 0 if cells is _HEADING else sum(widths[:2]) + 4
    line.stylize(style, begin, begin + widths[2] if begin else None)
    return line


def _cells(kind: str, status: JobStatus) -> list[str]:
    rows = rows_of(status)
    return [visible(status.job_id), kind, status.state.value, _NONE if rows is None else str(rows), _age(status)]


def rows_of(status: JobStatus) -> int | None:
    """Number of rows that a job has made; None when its status does not say."""
    data, figures = getattr(status, "data", None), getattr(status, "figures", None)
    if data is not None:
        return len(data)
    return figures.accepted if isinstance(figures, GenerationFigures) else None


def created(status: JobStatus) -> float | None:
    """When a job was started, in seconds since 1970; None when the service does not say."""
    value = getattr(status, "created", None)
    return value if isinstance(value, int | float) else None


def _age(status: JobStatus) -> str:
    began = created(status)
    if began is None:
        return _NONE
    seconds = max(time.time() - began, 0.0)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _last_message(status: JobStatus) -> str:
    """The last message but for the final state, which has a column of its own."""
    final = {state.value for state in JobState}
    lines = [line for line in status.detailed_status if line not in final] or status.detailed_status
    return shown_message(lines[-1]) if lines else ""


def figures_lines(status: JobStatus) -> list[str]:
    """A generation's counts, then its diversity, then tokens and cost, as far as its status has them."""
    figures = getattr(status, "figures", None)
    rows = rows_of(status)
    if not isinstance(figures, GenerationFigures):
        return [] if rows is None else [f"{rows} rows"]
    counts = f"{figures.accepted} accepted, {figures.bad} bad, {figures.similar} similar, {figures.malformed} malformed"
    diversity = {
        "distinct-2": figures.distinct_2,
        "mean pairwise similarity": figures.mean_pairwise_similarity,
    }
    return [counts, *_line(diversity, "{:.3f}"), *_line(_spent(figures), "{}")]


def _spent(figures: GenerationFigures) -> dict[str, Any]:
    cost = None if figures.cost_usd is None else f"${figures.cost_usd:.4f}"
    return {"input tokens": figures.input_tokens, "output tokens": figures.output_tokens, "cost": cost}


def _line(values: dict[str, Any], form: str) -> list[str]:
    known = [f"{name} {form.format(value)}" for name, value in values.items() if value is not None]
    return [visible(", ".join(known))] if known else []
