"""How a generation is going: one live line on a terminal, plain lines elsewhere; both on standard error."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from pi_integrations.cli.job_messages import shown_message
from pi_integrations.models import GenerationFigures

__all__ = ["GenerationProgress"]

_MESSAGE_CHARACTERS = 200
_THE_REST = Column(no_wrap=True, overflow="ellipsis", ratio=1)


class GenerationProgress:
    """Shows what it is told.

    Args:
        total: How many items were asked for; None when that is not known.
        noun: `pairs` or `inputs`.
        made: How many there were before.
    """

    def __init__(self, console: Console, *, total: int | None, noun: str, made: int = 0) -> None:
        self._console = console
        self._noun = noun
        self._live = console.is_terminal
        self._made = made
        self._new = 0
        self._began = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", markup=False, table_column=_THE_REST),
            console=console,
            transient=True,
            expand=True,
            disable=not self._live,
        )
        self._task = self._progress.add_task(noun, total=total, completed=made, counts="", message="")
        self._rejected = ""

    def row(self) -> None:
        """One more row is here."""
        self._made += 1
        self._new += 1
        self._show()

    def figures(self, figures: GenerationFigures) -> None:
        """The job's own counts."""
        self._rejected = f"{figures.bad} bad, {figures.similar} similar, "
        self._show()

    def message(self, line: str) -> None:
        """A message line of the job."""
        text = shown_message(line)
        if self._live:
            self._progress.update(self._task, message=text[:_MESSAGE_CHARACTERS])
        else:
            self._console.print(text, markup=False, soft_wrap=True)

    def _show(self) -> None:
        if self._live:
            rate = self._new / max(time.monotonic() - self._began, 0.001)
            self._progress.update(self._task, completed=self._made, counts=f"{self._rejected}{rate:.1f}/s")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
