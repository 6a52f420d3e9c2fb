"""The table of a scored file."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from pi_integrations.cli.failures import FailureGroup
from pi_integrations.cli.tables.bars import bar, sparkline
from pi_integrations.cli.tables.cells import Cell, add_columns, framed, judge_lines, label, number
from pi_integrations.cli.visible import visible
from pi_integrations.statistics.agreement import Interval
from pi_integrations.statistics.distributions import ScoreDistribution
from pi_integrations.statistics.summary import QuestionSummary, Summary, UsageTotals

__all__ = ["ScoreTable", "score_table"]

_WIDE = 100
_GROUPS_SHOWN = 3
_MESSAGE_CHARACTERS = 300


def score_table(summary: Summary) -> ScoreTable:
    """A rich renderable: a row per question and one for the total, then how well scores match labels, and the judge."""
    return ScoreTable(summary)


class ScoreTable:
    """`summary` as a table that fits the terminal: more columns from 100 cells on, ASCII where there is no Unicode."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, then the lines below it."""
        layout = _Layout(
            wide=options.max_width >= _WIDE, labelled=all(self._summary.total.labelled), ascii_only=options.ascii_only
        )
        table = layout.table()
        for question in self._summary.questions:
            table.add_row(*layout.question(question))
        table.add_section()
        table.add_row(*layout.total(self._summary), style="bold")
        yield table
        yield Text()
        yield from _separation(self._summary)
        yield from judge_lines(self._summary.judges)
        yield from _usage(self._summary.usage)
        yield from _unscored(self._summary)
        yield from _failures(self._summary)


class _Layout:
    """Which columns there are, and the cells that go into them."""

    def __init__(self, *, wide: bool, labelled: bool, ascii_only: bool) -> None:
        self._wide = wide
        self._labelled = labelled
        self._ascii_only = ascii_only

    def table(self) -> Table:
        table = framed("Question", "by", "share", "mean", "", "spread")
        if self._wide:
            add_columns(table, "p10", "p90", *(["good", "bad"] if self._labelled else []))
        add_columns(table, "scored", *(["ROC AUC" if self._wide else "AUC"] if self._labelled else []))
        return table

    def question(self, question: QuestionSummary) -> list[Cell]:
        asked = question.question
        cells = self._cells(question.scores, question.unscored.count)
        return [label(asked.key), asked.kind, f"{asked.share:.0%}", *cells]

    def total(self, summary: Summary) -> list[Cell]:
        return ["Total", "", "", *self._cells(summary.total, summary.failures.count)]

    def _cells(self, scores: ScoreDistribution, missing: int) -> list[Cell]:
        cells = [number(scores.mean), self._bar(scores.mean), self._spread(scores)]
        if self._wide:
            cells += [number(scores.percentile(0.1)), number(scores.percentile(0.9))]
            if self._labelled:
                cells += [number(scores.mean_of(True)), number(scores.mean_of(False))]
        cells.append(_scored(scores.count, missing))
        if self._labelled:
            cells.append(number(scores.roc_auc(), coloured=False))
        return list(cells)

    def _bar(self, mean: float | None) -> Text:
        return Text("") if mean is None else bar(mean, 12 if self._wide else 10, ascii_only=self._ascii_only)

    def _spread(self, scores: ScoreDistribution) -> Text:
        counts = [one.count for one in scores.bins(20 if self._wide else 10)]
        return Text(sparkline(counts, ascii_only=self._ascii_only), style="cyan")


def _scored(count: int, missing: int) -> Text:
    if not missing:
        return Text(f"{count:,}")
    return Text(f"{count:,}/{count + missing:,}", style="yellow")


def _separation(summary: Summary) -> RenderResult:
    interval = summary.total.roc_auc_interval()
    if interval is None:
        return
    good, bad = summary.total.labelled
    yield Text.assemble(
        "ROC AUC of the total ",
        (f"{interval.estimate:.2f}", "bold"),
        f", {_spread_of(interval)}, {good:,} good and {bad:,} bad. 0.5 is chance, 1 is perfect.",
    )


def _spread_of(interval: Interval) -> str:
    if interval.low == interval.high:
        return "every resample agrees, which more labels might change"
    return f"95 % interval {interval.low:.2f} to {interval.high:.2f}"


def _usage(usage: UsageTotals) -> RenderResult:
    counts = [(usage.calls, "calls"), (usage.input_tokens, "tokens in"), (usage.output_tokens, "tokens out")]
    parts = [f"{count:,} {name}" for count, name in counts if count is not None]
    if usage.cost_usd is not None:
        parts.append(f"{usage.cost_usd:,.4f} US$")
    if parts:
        yield Text("Judge used " + ", ".join(parts), style="dim")


def _unscored(summary: Summary) -> RenderResult:
    found = [(q.question.key, group) for q in summary.questions for group in q.unscored.groups]
    found.sort(key=lambda one: -one[1].count)
    for key, group in found[:_GROUPS_SHOWN]:
        yield Text.assemble((f"Unscored {visible(key)}: ", "yellow"), _reason(group))


def _failures(summary: Summary) -> RenderResult:
    failures = summary.failures
    if not failures.count:
        return
    yield Text(f"{failures.count:,} of {summary.rows:,} rows failed", style="bold red")
    for group in failures.groups[:_GROUPS_SHOWN]:
        yield Text("  " + _reason(group), style="red")
    hidden = len(failures.groups) - _GROUPS_SHOWN
    if hidden > 0:
        yield Text(f"  and {hidden} more reasons", style="red")


def _reason(group: FailureGroup) -> str:
    line = " ".join(visible(group.examples[0].message).split())
    clipped = line if len(line) <= _MESSAGE_CHARACTERS else line[: _MESSAGE_CHARACTERS - 3] + "..."
    return f"{group.count:,} x {clipped}"
