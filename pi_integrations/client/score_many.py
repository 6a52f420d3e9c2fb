"""Scoring a stream of exchanges: bounded memory, order kept or as completed, identical exchanges asked once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Any

from pi_integrations.errors import PiError, PiUsageError
from pi_integrations.models import ScoreResult

__all__ = ["Progress", "Scored", "score_stream"]

Score = Callable[[str, str], Awaitable[ScoreResult]]


@dataclass(frozen=True, slots=True)
class Scored:
    """One row of `score_many`: its scores, or the error that kept it from having any.

    Attributes:
        index: Position in the iterable given, from 0.
        row: The item given, untouched.
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
    """Yields a `Scored` per row, at most `window` rows read ahead of the one yielded."""
    total = len(rows) if isinstance(rows, Sized) else None
    run = _Run(score, window=window, ordered=ordered, total=total, on_progress=on_progress)
    reader = asyncio.create_task(run.read(rows))
    try:
        while (scored := await run.next()) is not None:
            yield scored
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await run.stop()


class _Run:
    """Reads rows, scores them, and gives them back: a reader fills the window, the caller empties it."""

    def __init__(
        self,
        score: Score,
        *,
        window: int,
        ordered: bool,
        total: int | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._score = score
        self._ordered = ordered
        self._total = total
        self._on_progress = on_progress
        self._room = asyncio.Semaphore(window)
        self._started = 0
        self._done = 0
        self._failed = 0
        self._read_all = False
        self._source_error: BaseException | None = None
        # In order of the rows, or of completion; None wakes the caller when all is read.
        self._out: asyncio.Queue[asyncio.Task[Scored] | None] = asyncio.Queue()
        self._in_flight: dict[tuple[str, str], asyncio.Task[ScoreResult]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def read(self, rows: Iterable[Any] | AsyncIterable[Any]) -> None:
        """Starts a task per row while there is room; what the source raises is kept for the end."""
        source = _aiter(rows)
        try:
            while await self._room.acquire():
                self._start(await anext(source))
                await asyncio.sleep(0)
        except StopAsyncIteration:
            pass
        except Exception as error:  # noqa: BLE001 - raised to the caller after the rows before it
            self._source_error = error
        finally:
            await source.aclose()  # type: ignore[attr-defined]
            self._read_all = True
            self._out.put_nowait(None)

    def _start(self, row: Any) -> None:
        task = asyncio.create_task(self._one(self._started, row))
        self._started += 1
        self._tasks.add(task)
        if self._ordered:
            self._out.put_nowait(task)
        else:
            task.add_done_callback(self._out.put_nowait)

    async def next(self) -> Scored | None:
        """The next row; None after the last. Raises what the source raised, when all rows before it are given."""
        while not (self._read_all and self._done == self._started):
            task = await self._out.get()
            if task is not None:
                return await self._given(task)
        if self._source_error is not None:
            raise self._source_error
        return None

    async def _given(self, task: asyncio.Task[Scored]) -> Scored:
        await asyncio.wait([task])
        self._tasks.discard(task)
        self._room.release()
        scored = task.result()
        self._done += 1
        self._failed += scored.error is not None
        if self._on_progress:
            self._on_progress(Progress(self._done, self._failed, self._total))
        return scored

    async def _one(self, index: int, row: Any) -> Scored:
        try:
            exchange = _texts(index, row)
            return Scored(index, row, result=await self._shared(exchange))
        except PiError as error:
            return Scored(index, row, error=error)

    async def _shared(self, exchange: tuple[str, str]) -> ScoreResult:
        """Identical exchanges in flight at the same time are asked once."""
        task = self._in_flight.get(exchange)
        if task is None:
            task = asyncio.ensure_future(self._ask(exchange))
            self._in_flight[exchange] = task
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._forget(exchange, done))
        return await asyncio.shield(task)

    async def _ask(self, exchange: tuple[str, str]) -> ScoreResult:
        return await self._score(*exchange)

    def _forget(self, exchange: tuple[str, str], task: asyncio.Task[ScoreResult]) -> None:
        self._in_flight.pop(exchange, None)
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


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
