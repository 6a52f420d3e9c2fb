"""The HTML report of a scored file: one self-contained page without scripts and without requests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pi_integrations.errors import PiUsageError
from pi_integrations.reports.charts import curve_points, histogram, whisker, whisker_scale
from pi_integrations.reports.text import clip, first_line, judge_names, judge_note, passage, visible
from pi_integrations.statistics.comparison import Comparison, PairedScores
from pi_integrations.statistics.summary import Summary

__all__ = ["write_report"]


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
