"""The table of two sets of answers."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from pi_integrations.cli.tables.cells import Cell, framed, judge_lines, label, number
from pi_integrations.cli.visible import visible
from pi_integrations.statistics.comparison import Comparison, PairedScores

__all__ = ["ComparisonTable", "comparison_table"]


def comparison_table(comparison: Comparison) -> ComparisonTable:
    """A rich renderable: both means, their difference with its interval, and wins, per question and for the total."""
    return ComparisonTable(comparison)


class ComparisonTable:
    """`comparison` as a table that fits the terminal."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, then the lines below it."""
        comparison = self._comparison
        table = framed("Question", "A", "B", "B - A", "95 % interval", "B wins", "ties", "A wins")
        for question, pairs in comparison.questions:
            table.add_row(label(question.key), *_cells(pairs))
        table.add_section()
        table.add_row("Total", *_cells(comparison.total), style="bold")
        yield table
        yield Text()
        yield from _lines(comparison)
        yield from judge_lines(comparison.judges)


def _cells(pairs: PairedScores) -> list[Cell]:
    interval, outcomes = pairs.difference(), pairs.outcomes
    if interval is None:
        return [Text("-", style="dim")] * 7
    certain = interval.low > 0 or interval.high < 0
    style = ("green" if interval.estimate > 0 else "red") if certain else ""
    return [
        number(pairs.mean_a),
        number(pairs.mean_b),
        Text(f"{interval.estimate:+.3f}", style=style),
        Text(f"{interval.low:+.3f} to {interval.high:+.3f}", style=style),
        *(f"{count:,}" for count in (outcomes.wins, outcomes.ties, outcomes.losses)),
    ]


def _lines(comparison: Comparison) -> RenderResult:
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
