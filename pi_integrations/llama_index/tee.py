"""A copy of a streamed answer, taken while the user reads it: nothing is read that the user does not read."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable

__all__ = ["Copy", "Finish", "Text", "atee", "copying", "copying_async", "tee"]

Text = Callable[[], str | None]
"""Gives the whole text, or None for a stream that ended before its end; raises when the pieces were no text."""
Finish = Callable[[Text], None]


class Copy:
    """The text so far. `finish` is called once, with what gives the text, or None when the stream ended too early.

    Whoever may still read the stream holds the copy: when nobody does, `finish` is called too. It must not raise,
    for it runs in the user's generator, and must not hold the stream.
    """

    def __init__(self, finish: Finish) -> None:
        self._finish = finish
        self._pieces: list[str | None] = []
        # A generator that is never started runs no `finally` when it is collected.
        self._unread = weakref.finalize(self, finish, _nothing)
        self._unread.atexit = False

    def add(self, piece: str | None) -> None:
        """`piece` was read; the last piece of some models' streams is None."""
        self._pieces.append(piece)

    def complete(self, text: str | None = None) -> None:
        """Everything was read; `text` says what, where it was not read in pieces."""
        pieces = self._pieces
        self._end(lambda: "".join(piece for piece in pieces if piece is not None) if text is None else text)

    def break_off(self) -> None:
        """Nothing more will be read; without effect after `complete`."""
        self._end(_nothing)

    def _end(self, text: Text) -> None:
        if self._unread.detach() is not None:
            self._finish(text)
            self._pieces = []


def _nothing() -> None:
    """The text of a stream that ended before its end."""


def tee(stream: Iterable[str], finish: Finish) -> Generator[str, None, None]:
    """`stream`, as a generator that calls `finish` with the whole text when it was read to its end.

    Closed, failed or collected before that, it calls `finish` with None.
    """
    return copying(stream, Copy(finish))


def atee(stream: AsyncIterable[str], finish: Finish) -> AsyncGenerator[str, None]:
    """`tee` for an async stream."""
    return copying_async(stream, Copy(finish))


def copying(stream: Iterable[str], copy: Copy) -> Generator[str, None, None]:
    """`stream`, with what is read of it added to `copy`; closed, it closes the stream."""
    try:
        for piece in stream:
            copy.add(piece)
            yield piece
        copy.complete()
    finally:
        copy.break_off()
        close = getattr(stream, "close", None)
        if close is not None:
            close()


async def copying_async(stream: AsyncIterable[str], copy: Copy) -> AsyncGenerator[str, None]:
    """`copying` for an async stream."""
    try:
        async for piece in stream:
            copy.add(piece)
            yield piece
        copy.complete()
    finally:
        copy.break_off()
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
