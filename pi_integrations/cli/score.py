"""`score`: scores a file of exchanges, prints a table, and writes the scores and a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pi_integrations.cli.console import errors, results
from pi_integrations.cli.endpoints import ScoreEndpoint
from pi_integrations.cli.output_file import OutputFile
from pi_integrations.cli.records import RecordFormat
from pi_integrations.cli.rows import InputRow, read_rows
from pi_integrations.cli.spec_files import load_spec
from pi_integrations.cli.tables import ComparisonTable, ScoreTable
from pi_integrations.client import PiClient
from pi_integrations.errors import PiUsageError
from pi_integrations.files import run_digest
from pi_integrations.models import AggregationMethod, DimensionSpec, Question, ScoreResult
from pi_integrations.reports.score_report import write_report
from pi_integrations.statistics.comparison import Comparison
from pi_integrations.statistics.summary import ScoredRow, Summary

__all__ = ["ScoreRun", "score_file"]

MISSED_THRESHOLD, ROWS_FAILED = 1, 3
Spec = list[Question] | DimensionSpec


@dataclass(frozen=True, slots=True)
class ScoreRun:
    """One run of `score`: its inputs and outputs.

    Attributes:
        source: File of exchanges; `-` for standard input.
        spec_path: File of the scoring spec.
        output: File of scores.
        report: File of the HTML report.
        format: Format of `source`; None for that of its suffix.
        columns: Columns of the fields, where they differ.
        aggregation_method: Mean of a flat spec; None for the service's default.
        overwrite: Whether to replace the scores of another run.
        compare: File of other answers to the same inputs.
        title: Heading of the report.
    """

    source: str
    spec_path: Path
    output: Path
    report: Path
    format: RecordFormat | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    aggregation_method: AggregationMethod | None = None
    overwrite: bool = False
    compare: Path | None = None
    title: str = "Pi scores"


def score_file(run: ScoreRun, endpoint: ScoreEndpoint, *, threshold: float | None = None, max_failures: int = 0) -> int:
    """The exit status after scoring, printing and writing: 0, 1 (threshold missed) or 3 (rows without a score).

    Raises:
        PiUsageError: for a wrong spec, file, option or endpoint; nothing is written then.
    """
    _check_paths(run)
    spec = load_spec(run.spec_path)
    rows = read_rows(
        sys.stdin.buffer if run.source == "-" else Path(run.source), format=run.format, columns=run.columns
    )
    # The client first: without an endpoint, the output file is not created.
    with (
        endpoint.client() as client,
        OutputFile(run.output, _digest(run, endpoint, spec, client), overwrite=run.overwrite) as output,
    ):
        if output.kept:
            errors().print(f"Continuing: {output.kept} rows are scored already in {run.output}.", markup=False)
        scorer = _RowScorer(client, spec, run.aggregation_method)
        try:
            summary, by_input = _score_into(scorer, rows, spec, output, pair=run.compare is not None)
            comparison = _compare(scorer, run, spec, by_input) if run.compare else None
        except KeyboardInterrupt:
            errors().print(f"Interrupted. The same command continues from {run.output}.", markup=False)
            raise
    results().print(ScoreTable(summary))
    if comparison:
        results().print(ComparisonTable(comparison))
    source = "standard input" if run.source == "-" else Path(run.source).name
    now = datetime.now().astimezone()
    write_report(run.report, summary, title=run.title, created=now, source=source, comparison=comparison)
    results().print(f"Scores: {run.output}   Report: {run.report}", markup=False)
    return _status(summary, threshold, max_failures)


def _check_paths(run: ScoreRun) -> None:
    """Refuses paths that would fail only after the scoring was paid for."""
    read = [Path(run.source)] if run.source != "-" else []
    read += [run.spec_path, *([run.compare] if run.compare else [])]
    for path in read:
        if not path.is_file() and not path.is_fifo():
            raise PiUsageError(f"cannot read {path}: there is no such file; give a file, or - for standard input")
    for option, path in (("--output", run.output), ("--report", run.report)):
        if str(path) == "-":
            raise PiUsageError(f"{option} - would be standard output, which takes the table; give {option} FILE")
        if any(path.exists() and path.samefile(other) for other in read):
            raise PiUsageError(f"{option} {path} is a file that is read here; choose another {option}")
        if path.exists() and not path.is_file():
            raise PiUsageError(f"{option} {path} is not a regular file; choose another {option}")
        if not os.access(path.absolute().parent, os.W_OK):
            raise PiUsageError(f"{option} {path}: its folder does not exist or takes no files; choose another {option}")
    if run.output.absolute() == run.report.absolute():
        raise PiUsageError(f"--output and --report are both {run.output}; choose two")


def _digest(run: ScoreRun, endpoint: ScoreEndpoint, spec: Spec, client: PiClient) -> str:
    try:
        plain = [node.model_dump(mode="json") for node in ([spec] if isinstance(spec, DimensionSpec) else spec)]
    except ValueError as error:
        raise PiUsageError(f"{run.spec_path} holds what JSON cannot carry: {error}") from None
    return run_digest(
        spec=plain,
        aggregation_method=run.aggregation_method,
        unscored=endpoint.unscored,
        judge=endpoint.judge,
        base_url=client.settings.base_url,
    )


@dataclass(frozen=True, slots=True)
class _PendingRow:
    """A row on its way through the client."""

    # `score_many` sends no row without texts; the error that it returns for one is not used.
    row: InputRow
    known: ScoreResult | None

    @property
    def llm_input(self) -> str | None:
        return self.row.llm_input if self._to_send else None

    @property
    def llm_output(self) -> str | None:
        return self.row.llm_output if self._to_send else None

    @property
    def _to_send(self) -> bool:
        return not self.row.error and self.known is None


class _RowScorer:
    """Scores rows in order, through one client."""

    def __init__(self, client: PiClient, spec: Spec, method: AggregationMethod | None) -> None:
        self._client = client
        self._spec = spec
        self._method = method

    def score(
        self, rows: Iterable[InputRow], known: Callable[[InputRow], ScoreResult | None] = lambda row: None
    ) -> Iterator[tuple[ScoredRow, bool]]:
        """Each row with its result or error, and whether that is new; `known` gives the scores of an earlier run."""
        pending = (_PendingRow(row, known(row)) for row in rows)
        with _progress() as progress:
            task = progress.add_task("scoring", total=None)
            for scored in self._client.scoring_system.score_many(
                pending, scoring_spec=self._spec, aggregation_method=self._method
            ):
                progress.advance(task)
                row, result = scored.row.row, scored.row.known
                if result is not None:
                    yield row.scored(result), False
                else:
                    yield row.scored(scored.result, str(scored.error) if scored.error else None), True


def _score_into(
    scorer: _RowScorer, rows: Iterable[InputRow], spec: Spec, output: OutputFile, *, pair: bool
) -> tuple[Summary, _ResultsByInput]:
    summary, by_input = Summary(spec), _ResultsByInput()
    for row, new in scorer.score(rows, output.former):
        if new:
            output.write(row)
        summary.add(row)
        if pair:
            by_input.add(row)
    return summary, by_input


class _ResultsByInput:
    """The first file's results, to be paired by id, or by the input where a row has no id."""

    def __init__(self) -> None:
        self._results: dict[tuple[str, str], list[ScoreResult]] = {}

    def add(self, row: ScoredRow) -> None:
        """Keeps the row's result; equal inputs are paired in order."""
        if row.result:
            self._results.setdefault(_key(row), []).append(row.result)

    def take(self, row: ScoredRow) -> ScoreResult | None:
        """The result that pairs with `row`, which is then used up."""
        waiting = self._results.get(_key(row))
        return waiting.pop(0) if waiting else None

    def __len__(self) -> int:
        return sum(map(len, self._results.values()))


def _key(row: ScoredRow) -> tuple[str, str]:
    return ("id", row.id) if row.id is not None else ("input", row.llm_input)


def _compare(scorer: _RowScorer, run: ScoreRun, spec: Spec, by_input: _ResultsByInput) -> Comparison:
    assert run.compare is not None
    comparison = Comparison(spec, name_a=Path(run.source).name, name_b=run.compare.name)
    for row, _ in scorer.score(read_rows(run.compare, columns=run.columns)):
        first = by_input.take(row)
        if first is None or row.result is None:
            comparison.unpaired += 1
        else:
            comparison.add(first, row.result)
    comparison.unpaired += len(by_input)
    return comparison


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors(),
        transient=True,
    )


def _status(summary: Summary, threshold: float | None, max_failures: int) -> int:
    mean = summary.total.mean
    # A missed threshold takes precedence, as documented for CI gates.
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
