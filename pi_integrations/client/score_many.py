"""Scores of a stream of exchanges: in bounded memory, ordered or as completed, identical exchanges sent once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

from pi_integrations.errors import PiError, PiUsageError
from pi_integrations.models import ScoreResult

__all__ = ["Progress", "Scored", "score_stream"]

Score = Callable[[str, str], Awaitable[ScoreResult]]


@dataclass(frozen=True, slots=True)
class Scored:
    """One row of `score_many`: its scores, or the error that kept it from having any.

    Attributes:
        index: Position of the row, from 0.
        row: The row itself, untouched.
        result: The scores, or None.
        error: Why there are none, or None.
    """

    index: int
    row: Any
    result: ScoreResult | None = None
    error: PiError | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far `score_many` is: rows `done`, of them `failed`, of `total` (None when the iterable has no length)."""

    done: int
    failed: int
    total: int | None


async def score_stream(
    rows: Iterable[Any] | AsyncIterable[Any],
    score: Score,
    *,
    window: int,
    ordered: bool,
    on_progress: Callable[[Progress], None] | None,
) -> AsyncGenerator[Scored, None]:
    """A `Scored` per row, with at most `window` rows read ahead of the one yielded."""
    run = _Run(score, asyncio.Semaphore(window), ordered, len(rows) if isinstance(rows, Sized) else None, on_progress)
    reader = asyncio.create_task(run.read(rows))
    try:
        while (scored := await run.next()) is not None:
            yield scored
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await run.stop()


@dataclass(slots=True)
class _Run:
    """One `score_many`: a reader starts a task per row while there is room, the caller takes the results."""

    score: Score
    room: asyncio.Semaphore
    ordered: bool
    total: int | None
    on_progress: Callable[[Progress], None] | None
    started: int = 0
    done: int = 0
    failed: int = 0
    read_all: bool = False
    source_error: BaseException | None = None
    # In order of the rows, or of completion; None wakes the caller when all is read.
    out: asyncio.Queue[asyncio.Task[Scored] | None] = field(default_factory=asyncio.Queue)
    in_flight: dict[tuple[str, str], asyncio.Task[ScoreResult]] = field(default_factory=dict)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def read(self, rows: Iterable[Any] | AsyncIterable[Any]) -> None:
        """Starts a task per row while there is room; what the source raises is kept for the end."""
        source = _aiter(rows)
        try:
            while await self.room.acquire():
                self._start(await anext(source))
                await asyncio.sleep(0)
        except StopAsyncIteration:
            pass
        except Exception as error:  # noqa: BLE001 - raised to the caller after the rows before it
            self.source_error = error
        finally:
            await source.aclose()  # type: ignore[attr-defined]
            self.read_all = True
            self.out.put_nowait(None)

    def _start(self, row: Any) -> None:
        task = asyncio.create_task(self._one(self.started, row))
        self.started += 1
        self.tasks.add(task)
        if self.ordered:
            self.out.put_nowait(task)
        else:
            task.add_done_callback(self.out.put_nowait)

    async def next(self) -> Scored | None:
        """The next row; None after the last. Raises what the source raised, when all rows before it are given."""
        while not (self.read_all and self.done == self.started):
            task = await self.out.get()
            if task is not None:
                return await self._given(task)
        if self.source_error is not None:
            raise self.source_error
        return None

    async def _given(self, task: asyncio.Task[Scored]) -> Scored:
        await asyncio.wait([task])
        self.tasks.discard(task)
        self.room.release()
        scored = task.result()
        self.done += 1
        self.failed += scored.error is not None
        if self.on_progress:
            self.on_progress(Progress(self.done, self.failed, self.total))
        return scored

    async def _one(self, index: int, row: Any) -> Scored:
        try:
            exchange = _texts(index, row)
            return Scored(index, row, result=await self._shared(exchange))
        except PiError as error:
            return Scored(index, row, error=error)

    async def _shared(self, exchange: tuple[str, str]) -> ScoreResult:
        """The scores; identical exchanges in flight at the same time share one request."""
        task = self.in_flight.get(exchange)
        if task is None:
            task = asyncio.ensure_future(self.score(*exchange))
            self.in_flight[exchange] = task
            self.tasks.add(task)
            task.add_done_callback(lambda done: self._forget(exchange, done))
        return await asyncio.shield(task)

    def _forget(self, exchange: tuple[str, str], task: asyncio.Task[ScoreResult]) -> None:
        self.in_flight.pop(exchange, None)
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.gather(*self.tasks, return_exceptions=True)


def _texts(index: int, row: Any) -> tuple[str, str]:
    """`llm_input` and `llm_output` of a mapping, a pair, or an object with those attributes."""
    if isinstance(row, Mapping):
        pair = (row.get("llm_input", ""), row.get("llm_output"))
    elif isinstance(row, tuple | list) and len(row) == 2:
        pair = (row[0], row[1])
    else:
        pair = (getattr(row, "llm_input", ""), getattr(row, "llm_output", None))
    for name, text in zip(("llm_input", "llm_output"), pair, strict=True):
        if not isinstance(text, str):
            raise PiUsageError(
                f"row {index}: {name} is {'missing' if text is None else type(text).__name__}; give a mapping or object"
                " with llm_input and llm_output, or a pair of strings"
            )
    return str(pair[0]), str(pair[1])


async def _aiter(rows: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield row
        return
    for row in rows:
        yield row
