"""A copy of a streamed answer, taken while the user reads it: nothing is read that the user does not read."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Sequence
from typing import Any

__all__ = ["AsyncReading", "Copy", "Finish", "Reading", "Text", "atee", "tee"]

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
    return _copying(stream, Copy(finish))


def atee(stream: AsyncIterable[str], finish: Finish) -> AsyncGenerator[str, None]:
    """`tee` for an async stream."""
    return _copying_async(stream, Copy(finish))


class Reading(Generator[str, None, None]):
    """`stream`, with what is read of it added to `copies`; closed or failed, it breaks them off.

    Dropped before its end, as by a `break`, it does not: others may read on where it stopped.
    """

    def __init__(self, stream: Generator[str, None, None], copies: Sequence[Copy]) -> None:
        self._stream = stream
        self._copies = copies

    def send(self, value: Any) -> str:
        """The next piece."""
        try:
            piece = self._stream.send(value)
        except BaseException as error:
            _end(self._copies, isinstance(error, StopIteration))
            raise
        _add(self._copies, piece)
        return piece

    def throw(self, *error: Any) -> str:
        """Raises `error` in the stream, which ends it."""
        _end(self._copies, False)
        return self._stream.throw(*error)

    def close(self) -> None:
        """Nothing more will be read."""
        _end(self._copies, False)
        self._stream.close()


class AsyncReading(AsyncGenerator[str, None]):
    """`Reading` of an async stream."""

    def __init__(self, stream: AsyncGenerator[str, None], copies: Sequence[Copy]) -> None:
        self._stream = stream
        self._copies = copies

    async def asend(self, value: Any) -> str:
        """The next piece."""
        try:
            piece = await self._stream.asend(value)
        except BaseException as error:
            _end(self._copies, isinstance(error, StopAsyncIteration))
            raise
        _add(self._copies, piece)
        return piece

    async def athrow(self, *error: Any) -> str:
        """Raises `error` in the stream, which ends it."""
        _end(self._copies, False)
        return await self._stream.athrow(*error)

    async def aclose(self) -> None:
        """Nothing more will be read."""
        _end(self._copies, False)
        await self._stream.aclose()


def _add(copies: Sequence[Copy], piece: str) -> None:
    for copy in copies:
        copy.add(piece)


def _end(copies: Sequence[Copy], whole: bool) -> None:
    for copy in copies:
        (copy.complete if whole else copy.break_off)()


def _copying(stream: Iterable[str], copy: Copy) -> Generator[str, None, None]:
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


async def _copying_async(stream: AsyncIterable[str], copy: Copy) -> AsyncGenerator[str, None]:
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
