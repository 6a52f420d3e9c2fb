"""A copy of a streamed answer, taken while the user reads it; only what the user reads is read."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from inspect import isasyncgen
from typing import Any, Protocol

from pi_integrations.llama_index.nesting import OpenAnswer, awithin, within

__all__ = ["Copy", "Reading", "Text", "aclose", "anext_piece", "atee", "close", "next_piece", "tee"]

Text = Callable[[], str | None]
"""Returns the whole text, or None for a stream that stopped early; raises when the pieces were not text."""


class Reading(Protocol):
    """Receives how far a stream was read; runs in the user's generator, so it must not raise, nor hold the stream.

    Attributes:
        inside: The answer that encloses queries made while a piece is produced.
        is_left: Whether reading has stopped before the end, so far.
    """

    inside: OpenAnswer
    is_left: bool

    def leave(self) -> None:
        """A reader stopped before the end; another may continue."""

    def go_on(self) -> None:
        """Reading continues."""

    def finish(self, text: Text) -> None:
        """Nothing more will be read. Called once."""


class Copy:
    """The text so far. It finishes the reading with a `Text`: the whole text, or None when the stream ended too early.

    Every reader of the stream holds the copy; when the last one is collected, the reading is finished too.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._pieces: list[str | None] = []
        # A generator that is never started runs no `finally` when it is collected.
        self._unread = weakref.finalize(self, reading.finish, _nothing)
        self._unread.atexit = False

    def add(self, piece: str | None) -> None:
        """`piece` was read; the last piece of some models' streams is None."""
        if self.reading.is_left:
            self.reading.go_on()
        self._pieces.append(piece)

    def leave(self) -> None:
        """A reader stops before the end; without effect after that."""
        self.reading.leave()

    def complete(self, text: str | None = None) -> None:
        """Everything was read; `text` is the whole text, where it differs from the added pieces."""
        pieces = self._pieces
        self._end(lambda: "".join(piece for piece in pieces if piece is not None) if text is None else text)

    def break_off(self) -> None:
        """Nothing more will be read; without effect after `complete`."""
        self._end(_nothing)

    def _end(self, text: Text) -> None:
        if self._unread.detach() is not None:
            self.reading.finish(text)
            self._pieces = []


def _nothing() -> None:
    """The text of a stream that stopped early: None."""


def tee(stream: Iterable[str], reading: Reading) -> Generator[str, None, None]:
    """`stream`, as a generator that finishes `reading` with the whole text when it was read to its end.

    Closed, failed or collected before that, it finishes it with None.
    """
    return _copying(stream, Copy(reading))


def atee(stream: AsyncIterable[str], reading: Reading) -> AsyncGenerator[str, None]:
    """`tee` for an async stream."""
    return _copying_async(stream, Copy(reading))


def _copying(stream: Iterable[str], copy: Copy) -> Generator[str, None, None]:
    try:
        step = partial(next, iter(stream))
        with suppress(StopIteration):
            while True:
                yield next_piece(step, [copy])
        copy.complete()
    finally:
        copy.break_off()
        close(stream)


async def _copying_async(stream: AsyncIterable[str], copy: Copy) -> AsyncGenerator[str, None]:
    try:
        step = aiter(stream).__anext__
        with suppress(StopAsyncIteration):
            while True:
                yield await anext_piece(step, [copy])
        copy.complete()
    finally:
        copy.break_off()
        await aclose(stream)


def next_piece(step: Callable[[], str], copies: Sequence[Copy]) -> str:
    """The next piece, from `step`, added to `copies`; queries that `step` makes belong to their answers."""
    piece = within([copy.reading.inside for copy in copies], step)
    for copy in copies:
        copy.add(piece)
    return piece


async def anext_piece(step: Callable[[], Awaitable[str]], copies: Sequence[Copy]) -> str:
    """`next_piece` for a step that is awaited."""
    piece = await awithin([copy.reading.inside for copy in copies], step)
    for copy in copies:
        copy.add(piece)
    return piece


def close(stream: Any) -> None:
    """Closes a stream that can be."""
    if hasattr(stream, "close"):
        stream.close()


async def aclose(stream: Any) -> None:
    """`close` for an async stream. A loop that ends closes all generators itself, at the same time."""
    is_ending = getattr(asyncio.get_running_loop(), "_asyncgens_shutdown_called", False)
    if hasattr(stream, "aclose") and not (is_ending and isasyncgen(stream)):
        await stream.aclose()
