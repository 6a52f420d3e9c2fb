"""`score`: a file of exchanges through a client, into a summary, an output file, a table and a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pi_integrations.cli.comparison import Comparison
from pi_integrations.cli.console import errors, results
from pi_integrations.cli.endpoint import Endpoint
from pi_integrations.cli.output_file import OutputFile
from pi_integrations.cli.report import write_report
from pi_integrations.cli.rows import Format, Row, read_rows
from pi_integrations.cli.spec_files import load_spec
from pi_integrations.cli.summary import ScoredRow, Summary
from pi_integrations.cli.tables import comparison_table, score_table
from pi_integrations.client import PiClient
from pi_integrations.errors import PiUsageError
from pi_integrations.files import run_digest
from pi_integrations.models import AggregationMethod, DimensionSpec, Question, ScoreResult

__all__ = ["Job", "score_file"]

MISSED_THRESHOLD, ROWS_FAILED = 1, 3
Spec = list[Question] | DimensionSpec


@dataclass(frozen=True, slots=True)
class Job:
    """One run of `score`: what is read, against what, and where it goes. `source` is a path, or `-` for stdin."""

    source: str
    spec_path: Path
    output: Path
    report: Path
    format: Format | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    aggregation_method: AggregationMethod | None = None
    overwrite: bool = False
    compare: Path | None = None
    title: str = "Pi scores"


def score_file(job: Job, endpoint: Endpoint, *, threshold: float | None = None, max_failures: int = 0) -> int:
    """The exit status after scoring, printing and writing: 0, 1 (threshold missed) or 3 (rows without a score).

    Raises:
        PiUsageError: for a wrong spec, file, option or endpoint; nothing is written then.
    """
    _check_paths(job)
    spec = load_spec(job.spec_path)
    rows = _rows(job)
    with (
        endpoint.client() as client,
        OutputFile(job.output, _run(job, endpoint, spec, client), overwrite=job.overwrite) as output,
    ):
        if output.kept:
            errors().print(f"Going on from {output.kept} rows scored before in {job.output}.", markup=False)
        scored = _Scored(client, spec, job.aggregation_method)
        try:
            summary, by_key = _score_into(scored, rows, spec, output, pair=job.compare is not None)
            comparison = _compare(scored, job, spec, by_key) if job.compare else None
        except KeyboardInterrupt:
            errors().print(f"Interrupted. The same command goes on from {job.output}.", markup=False)
            raise
    results().print(score_table(summary))
    if comparison:
        results().print(comparison_table(comparison))
    source = "standard input" if job.source == "-" else Path(job.source).name
    write_report(
        job.report,
        summary,
        title=job.title,
        created=datetime.now().astimezone(),
        source=source,
        comparison=comparison,
    )
    results().print(f"Scores: {job.output}   Report: {job.report}", markup=False)
    return _status(summary, threshold, max_failures)


def _check_paths(job: Job) -> None:
    """Everything that would fail only after the scoring was paid for."""
    read = [Path(job.source)] if job.source != "-" else []
    read += [job.spec_path, *([job.compare] if job.compare else [])]
    for path in read:
        if not path.is_file() and not path.is_fifo():
            raise PiUsageError(f"cannot read {path}: there is no such file; give a file, or - for standard input")
    for option, path in (("--output", job.output), ("--report", job.report)):
        if str(path) == "-":
            raise PiUsageError(f"{option} - would be standard output, which takes the table; give {option} FILE")
        if any(path.exists() and path.samefile(other) for other in read):
            raise PiUsageError(f"{option} {path} is a file that is read here; choose another {option}")
        if path.exists() and not path.is_file():
            raise PiUsageError(f"{option} {path} is not a regular file; choose another {option}")
        if not os.access(path.absolute().parent, os.W_OK):
            raise PiUsageError(f"{option} {path}: its folder does not exist or takes no files; choose another {option}")
    if job.output.absolute() == job.report.absolute():
        raise PiUsageError(f"--output and --report are both {job.output}; choose two")


def _rows(job: Job) -> Iterator[Row]:
    source = sys.stdin.buffer if job.source == "-" else Path(job.source)
    return read_rows(source, format=job.format, columns=job.columns)


def _run(job: Job, endpoint: Endpoint, spec: Spec, client: PiClient) -> str:
    try:
        plain = [node.model_dump(mode="json") for node in ([spec] if isinstance(spec, DimensionSpec) else spec)]
    except ValueError as error:
        raise PiUsageError(f"{job.spec_path} holds what JSON cannot carry: {error}") from None
    return run_digest(
        spec=plain,
        aggregation_method=job.aggregation_method,
        unscored=endpoint.unscored,
        judge=endpoint.judge,
        base_url=client.settings.base_url,
    )


class _Scored:
    """Rows to scored rows, in order, through one client."""

    def __init__(self, client: PiClient, spec: Spec, method: AggregationMethod | None) -> None:
        self._client = client
        self._spec = spec
        self._method = method

    def __call__(
        self, rows: Iterable[Row], former: Callable[[Row], ScoreResult | None] | None = None
    ) -> Iterator[tuple[ScoredRow, bool]]:
        """Each row with its outcome, and whether it was made now."""
        waiting = (_Waiting.of(row, former(row) if former else None) for row in rows)
        with _progress() as progress:
            task = progress.add_task("scoring", total=None)
            for scored in self._client.scoring_system.score_many(
                waiting, scoring_spec=self._spec, aggregation_method=self._method
            ):
                progress.advance(task)
                row, known = scored.row.row, scored.row.known
                if known is not None:
                    yield ScoredRow.of(row, result=known), False
                else:
                    error = str(scored.error) if scored.error else None
                    yield ScoredRow.of(row, result=scored.result, error=error), True


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row on its way through the client."""

    row: Row
    known: ScoreResult | None

    @classmethod
    def of(cls, row: Row, known: ScoreResult | None) -> _Waiting:
        """Rows that are not to be sent have no text to send."""
        return cls(row, known) if row.error or known is not None else _Sent(row, None)


@dataclass(frozen=True, slots=True)
class _Sent(_Waiting):
    @property
    def llm_input(self) -> str:
        return self.row.llm_input

    @property
    def llm_output(self) -> str:
        return self.row.llm_output


def _score_into(
    scored: _Scored, rows: Iterable[Row], spec: Spec, output: OutputFile, *, pair: bool
) -> tuple[Summary, _Pairs]:
    summary, pairs = Summary(spec), _Pairs()
    for row, new in scored(rows, output.former):
        if new:
            output.write(row)
        summary.add(row)
        if pair:
            pairs.put(row)
    return summary, pairs


class _Pairs:
    """Results waiting for the other set's answer to the same input: by id when there is one, else by the input."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], list[ScoreResult]] = {}

    def put(self, row: ScoredRow) -> None:
        """Keeps a scored row; equal inputs wait in line."""
        if row.result:
            self._waiting.setdefault(_key(row), []).append(row.result)

    def take(self, row: ScoredRow) -> ScoreResult | None:
        """The result that pairs with `row`."""
        line = self._waiting.get(_key(row))
        return line.pop(0) if line else None

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))


def _key(row: ScoredRow) -> tuple[str, str]:
    return ("id", row.id) if row.id is not None else ("input", row.llm_input)


def _compare(scored: _Scored, job: Job, spec: Spec, pairs: _Pairs) -> Comparison:
    assert job.compare is not None
    comparison = Comparison(spec, name_a=Path(job.source).name, name_b=job.compare.name)
    for row, _ in scored(read_rows(job.compare, columns=job.columns)):
        first = pairs.take(row)
        if first is None or row.result is None:
            comparison.unpaired += 1
        else:
            comparison.add(first, row.result)
    comparison.unpaired += len(pairs)
    return comparison


def _progress() -> Progress:
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    return Progress(*columns, console=errors(), transient=True)


def _status(summary: Summary, threshold: float | None, max_failures: int) -> int:
    mean = summary.total.mean
    if threshold is not None and (mean is None or mean < threshold):
        shown = "no row was scored" if mean is None else f"the mean total {mean:.4f} is below it"
        errors().print(f"Threshold {threshold} missed: {shown}.", style="bold red")
        return MISSED_THRESHOLD
    if summary.failures.count > max_failures:
        errors().print(
            f"{summary.failures.count} of {summary.rows} rows have no score (allowed: {max_failures}, --max-failures).",
            style="bold red",
        )
        return ROWS_FAILED
    return 0
