"""A copy of a streamed answer, taken while the user reads it: nothing is read that the user does not read."""

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
"""Gives the whole text, or None for a stream that ended before its end; raises when the pieces were no text."""


class Reading(Protocol):
    """Who is told how far a stream was read; must not raise, for it runs in the user's generator, nor hold the stream.

    Attributes:
        inside: What is asked while a piece is made belongs to this.
        is_left: Whether nobody reads on, so far.
    """

    inside: OpenAnswer
    is_left: bool

    def leave(self) -> None:
        """A reader stopped before the end; another may go on."""

    def go_on(self) -> None:
        """Somebody reads on."""

    def finish(self, text: Text) -> None:
        """Nobody will read on. Called once."""


class Copy:
    """The text so far. The reading is finished with what gives all of it, or with None when it ended too early.

    Whoever may still read the stream holds the copy: when nobody does, the reading is finished too.
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
        """Everything was read; `text` says what, where that is not what was added."""
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
    """The text of a stream that ended before its end."""


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
    """What `step` gives, added to `copies`; what it asks for that belongs to their answers."""
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
