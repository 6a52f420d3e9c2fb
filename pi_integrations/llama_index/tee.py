"""A copy of a streamed answer, taken while the user reads it: nothing is read that the user does not read."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from pi_integrations.llama_index.nesting import Nesting, awithin, within

__all__ = ["Copy", "Reading", "Text", "aclose", "atee", "close", "pieces_of", "pieces_of_async", "tee"]

Text = Callable[[], str | None]
"""Gives the whole text, or None for a stream that ended before its end; raises when the pieces were no text."""


class Reading(Protocol):
    """Who is told how far a stream was read; must not raise, for it runs in the user's generator, nor hold the stream.

    Attributes:
        owner: Where what is asked while the stream is read belongs to its answer.
        is_left: Whether nobody reads on, so far.
    """

    owner: Nesting | None
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
        """A reader stops before the end."""
        if self._unread.alive:
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
        yield from pieces_of(stream, [copy])
        copy.complete()
    finally:
        copy.break_off()
        close(stream)


async def _copying_async(stream: AsyncIterable[str], copy: Copy) -> AsyncGenerator[str, None]:
    try:
        async for piece in pieces_of_async(stream, [copy]):
            yield piece
        copy.complete()
    finally:
        copy.break_off()
        await aclose(stream)


def pieces_of(stream: Iterable[str], copies: Sequence[Copy]) -> Generator[str, None, None]:
    """`stream`, with each piece added to `copies`; what it asks for a piece belongs to their answer."""
    step = partial(next, iter(stream))
    owners = [copy.reading.owner for copy in copies]
    while True:
        try:
            piece = within(owners, step)
        except StopIteration:
            return
        for copy in copies:
            copy.add(piece)
        yield piece


async def pieces_of_async(stream: AsyncIterable[str], copies: Sequence[Copy]) -> AsyncGenerator[str, None]:
    """`pieces_of` for an async stream."""
    step = aiter(stream).__anext__
    owners = [copy.reading.owner for copy in copies]
    while True:
        try:
            piece = await awithin(owners, step)
        except StopAsyncIteration:
            return
        for copy in copies:
            copy.add(piece)
        yield piece


def close(stream: Any) -> None:
    """Closes a stream that can be."""
    if hasattr(stream, "close"):
        stream.close()


async def aclose(stream: Any) -> None:
    """`close` for an async stream."""
    if hasattr(stream, "aclose"):
        await stream.aclose()
