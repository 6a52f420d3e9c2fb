"""Pieces that both tables share: the frame, numbers, and the lines about the judge."""

from __future__ import annotations

from collections.abc import Collection

from rich import box
from rich.console import RenderResult
from rich.table import Table
from rich.text import Text

from pi_integrations.cli.judge_note import judge_names, judge_note
from pi_integrations.cli.tables.bars import style_of
from pi_integrations.cli.visible import visible

__all__ = ["Cell", "add_columns", "framed", "judge_lines", "label", "number"]

Cell = Text | str

_LEFT = ("by", "", "spread")


def framed(*names: str) -> Table:
    """A table as wide as the terminal, whose first column takes what the others leave."""
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), expand=True, header_style="bold dim"
    )
    table.add_column(names[0], min_width=12, overflow="fold", ratio=1)
    add_columns(table, *names[1:])
    return table


def add_columns(table: Table, *names: str) -> None:
    """Columns that never wrap, numbers to the right."""
    for name in names:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=True)


def label(text: str) -> Text:
    """A text of somebody else's, safe to print."""
    return Text(visible(text))


def number(value: float | None, *, coloured: bool = True) -> Text:
    """A score with two decimals in its colour; a dash for None."""
    if value is None:
        return Text("-", style="dim")
    return Text(f"{value:.2f}", style=style_of(value) if coloured else "")


def judge_lines(judges: Collection[str | None]) -> RenderResult:
    """Who judged, and what to know about it."""
    yield Text.assemble("Judge ", (visible(judge_names(judges)), "bold"))
    note = judge_note(judges)
    if note:
        yield Text(note, style="yellow")
