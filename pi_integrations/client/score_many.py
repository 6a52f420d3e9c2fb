"""Scoring a stream of exchanges: bounded memory, order kept or as completed, identical exchanges asked once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sized
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
) -> AsyncIterator[Scored]:
    """Yields a `Scored` per row, at most `window` rows read ahead of the one yielded."""
    total = len(rows) if isinstance(rows, Sized) else None
    run = _Run(score, ordered=ordered, total=total, on_progress=on_progress)
    source = _aiter(rows)
    try:
        pending = 0
        async for row in source:
            run.start(row)
            pending += 1
            if pending >= window:
                yield await run.next()
                pending -= 1
        while pending:
            yield await run.next()
            pending -= 1
    finally:
        await run.stop()
        close = getattr(source, "aclose", None)
        if close:
            await close()


class _Run:
    def __init__(
        self, score: Score, *, ordered: bool, total: int | None, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self._score = score
        self._ordered = ordered
        self._total = total
        self._on_progress = on_progress
        self._index = 0
        self._done = 0
        self._failed = 0
        self._in_order: deque[asyncio.Task[Scored]] = deque()
        self._finished: asyncio.Queue[asyncio.Task[Scored]] = asyncio.Queue()
        self._in_flight: dict[tuple[str, str], asyncio.Task[ScoreResult]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, row: Any) -> None:
        task = asyncio.create_task(self._one(self._index, row))
        self._index += 1
        self._tasks.add(task)
        if self._ordered:
            self._in_order.append(task)
        else:
            task.add_done_callback(self._finished.put_nowait)

    async def next(self) -> Scored:
        if self._ordered:
            task = self._in_order.popleft()
            await asyncio.wait([task])
        else:
            task = await self._finished.get()
        self._tasks.discard(task)
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
