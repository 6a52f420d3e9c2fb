"""Tables of scores and of comparisons for the terminal: rich renderables that fit its width."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from pi_integrations.reports.text import judge_names, judge_note, visible
from pi_integrations.statistics.agreement import Interval
from pi_integrations.statistics.comparison import Comparison, PairedScores
from pi_integrations.statistics.distributions import ScoreDistribution
from pi_integrations.statistics.summary import FailureGroup, QuestionSummary, Summary, UsageTotals

__all__ = ["ComparisonTable", "ScoreTable"]

# Cells from which the table has all its columns; a terminal has 80 by default.
_WIDE = 100
_GROUPS_SHOWN = 3
_MESSAGE_CHARACTERS = 300
_LEFT = ("by", "", "spread")
_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = ".:-=+*#@"

Cell = Text | str


class ScoreTable:
    """A row per question and one for the total, then agreement with labels, the judge, usage and failures.

    Has more columns from a width of 100 cells on, and ASCII bars where the terminal has no Unicode.
    """

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
        yield from _judge_lines(self._summary.judges)
        yield from _usage(self._summary.usage)
        yield from _unscored(self._summary)
        yield from _failures(self._summary)


class _Layout:
    """The columns of a score table, and their cells."""

    def __init__(self, *, wide: bool, labelled: bool, ascii_only: bool) -> None:
        self._wide = wide
        self._labelled = labelled
        self._ascii_only = ascii_only

    def table(self) -> Table:
        table = _framed("Question", "by", "share", "mean", "", "spread")
        if self._wide:
            _add_columns(table, "p10", "p90", *(["good", "bad"] if self._labelled else []))
        _add_columns(table, "scored", *(["ROC AUC" if self._wide else "AUC"] if self._labelled else []))
        return table

    def question(self, question: QuestionSummary) -> list[Cell]:
        in_spec = question.question
        cells = self._cells(question.scores, question.unscored.count)
        return [_safe(in_spec.key), in_spec.kind, f"{in_spec.share:.0%}", *cells]

    def total(self, summary: Summary) -> list[Cell]:
        return ["Total", "", "", *self._cells(summary.total, summary.failures.count)]

    def _cells(self, scores: ScoreDistribution, missing: int) -> list[Cell]:
        cells = [_number(scores.mean), self._bar(scores.mean), self._spread(scores)]
        if self._wide:
            cells += [_number(scores.percentile(0.1)), _number(scores.percentile(0.9))]
            if self._labelled:
                cells += [_number(scores.mean_of(True)), _number(scores.mean_of(False))]
        cells.append(_scored(scores.count, missing))
        if self._labelled:
            cells.append(_number(scores.roc_auc(), coloured=False))
        return list(cells)

    def _bar(self, mean: float | None) -> Text:
        return Text("") if mean is None else _bar(mean, 12 if self._wide else 10, ascii_only=self._ascii_only)

    def _spread(self, scores: ScoreDistribution) -> Text:
        counts = [one.count for one in scores.bins(20 if self._wide else 10)]
        return Text(_sparkline(counts, ascii_only=self._ascii_only), style="cyan")


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


class ComparisonTable:
    """Both means, their difference with its interval, and wins, for each question and for the total."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, then the lines below it."""
        comparison = self._comparison
        table = _framed("Question", "A", "B", "B - A", "95 % interval", "B wins", "ties", "A wins")
        for question, pairs in comparison.questions:
            table.add_row(_safe(question.key), *_comparison_cells(pairs))
        table.add_section()
        table.add_row("Total", *_comparison_cells(comparison.total), style="bold")
        yield table
        yield Text()
        yield from _comparison_lines(comparison)
        yield from _judge_lines(comparison.judges)


def _comparison_cells(pairs: PairedScores) -> list[Cell]:
    interval, outcomes = pairs.difference(), pairs.outcomes
    if interval is None:
        return [Text("-", style="dim")] * 7
    certain = interval.low > 0 or interval.high < 0
    style = ("green" if interval.estimate > 0 else "red") if certain else ""
    return [
        _number(pairs.mean_a),
        _number(pairs.mean_b),
        Text(f"{interval.estimate:+.3f}", style=style),
        Text(f"{interval.low:+.3f} to {interval.high:+.3f}", style=style),
        *(f"{count:,}" for count in (outcomes.wins, outcomes.ties, outcomes.losses)),
    ]


def _comparison_lines(comparison: Comparison) -> RenderResult:
    yield Text.assemble("A ", (visible(comparison.name_a), "bold"), "   B ", (visible(comparison.name_b), "bold"))
    yield Text(f"{comparison.total.count:,} inputs answered in both; the interval is a paired bootstrap over them")
    if comparison.unpaired:
        yield Text(f"{comparison.unpaired:,} rows left out: no scored row with the same input", style="yellow")
    yield Text(_verdict(comparison.total), style="bold")


def _verdict(total: PairedScores) -> str:
    interval = total.difference()
    if interval is None:
        return "No input has a scored answer in both files; check that llm_input is the same in both"
    if interval.low > 0:
        return f"B scores higher, by {interval.estimate:.3f} on average"
    if interval.high < 0:
        return f"A scores higher, by {-interval.estimate:.3f} on average"
    return "No difference can be told from chance: the interval contains 0"


def _framed(*names: str) -> Table:
    """A table as wide as the terminal; the first column takes the width that the others leave."""
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), expand=True, header_style="bold dim"
    )
    table.add_column(names[0], min_width=12, overflow="fold", ratio=1)
    _add_columns(table, *names[1:])
    return table


def _add_columns(table: Table, *names: str) -> None:
    """Columns that never wrap, numbers to the right."""
    for name in names:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=True)


def _safe(text: str) -> Text:
    """An untrusted text, safe to print."""
    return Text(visible(text))


def _number(value: float | None, *, coloured: bool = True) -> Text:
    """A score with two decimals in its colour; a dash for None."""
    if value is None:
        return Text("-", style="dim")
    return Text(f"{value:.2f}", style=_colour(value) if coloured else "")


def _judge_lines(judges: Collection[str | None]) -> RenderResult:
    """The judge, and the caution that belongs to it."""
    yield Text.assemble("Judge ", (visible(judge_names(judges)), "bold"))
    note = judge_note(judges)
    if note:
        yield Text(note, style="yellow")


def _colour(score: float) -> str:
    """The colour of a score in [0, 1]: red below 0.4, yellow below 0.7, green above."""
    return "red" if score < 0.4 else "yellow" if score < 0.7 else "green"


def _bar(share: float, width: int, *, ascii_only: bool = False) -> Text:
    """A horizontal bar of `width` cells, filled by `share` in [0, 1] and coloured by it."""
    share = min(max(share, 0.0), 1.0)
    halves = round(share * width * 2)
    filled = "#" * (halves // 2) if ascii_only else "━" * (halves // 2) + "╸" * (halves % 2)
    return Text.assemble((filled, _colour(share)), (("." if ascii_only else "·") * (width - len(filled)), "dim"))


def _sparkline(counts: Sequence[int], *, ascii_only: bool = False) -> str:
    """One character per count, as high as the count's share of the largest; a space for 0 only."""
    levels = _ASCII_LEVELS if ascii_only else _LEVELS
    largest = max(counts, default=0)
    # Rounded up, so that a single score is visible beside a thousand.
    return "".join(levels[-(-count * len(levels) // largest) - 1] if count else " " for count in counts)
