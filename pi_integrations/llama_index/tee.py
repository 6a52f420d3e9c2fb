"""A copy of a streamed answer, taken while the user reads it: nothing is read that the user does not read."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from typing import Any

__all__ = ["atee", "tee"]

Finish = Callable[[str | None], None]


class _Copy:
    """The text so far. `finish` is called once, with the text, or with None when the stream ended before its end.

    It must not raise: it runs in the user's generator.
    """

    def __init__(self, finish: Finish) -> None:
        self._finish: Finish | None = finish
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        self._pieces.append(piece)

    def complete(self) -> None:
        self._end(lambda: "".join(self._pieces))

    def break_off(self) -> None:
        self._end(lambda: None)

    def _end(self, text: Callable[[], str | None]) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(text())
            self._pieces.clear()


def tee(stream: Iterable[str], finish: Finish) -> Generator[str, None, None]:
    """`stream`, as a generator that calls `finish` with the whole text when it was read to its end.

    Closed, failed or collected before that, it calls `finish` with None.
    """
    copy = _Copy(finish)
    generator = _copying(stream, copy)
    _watch(generator, copy)
    return generator


def atee(stream: AsyncIterable[str], finish: Finish) -> AsyncGenerator[str, None]:
    """`tee` for an async stream."""
    copy = _Copy(finish)
    generator = _acopying(stream, copy)
    _watch(generator, copy)
    return generator


def _watch(generator: Any, copy: _Copy) -> None:
    # A generator that is never started runs no `finally` when it is collected.
    weakref.finalize(generator, copy.break_off).atexit = False


def _copying(stream: Iterable[str], copy: _Copy) -> Generator[str, None, None]:
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


async def _acopying(stream: AsyncIterable[str], copy: _Copy) -> AsyncGenerator[str, None]:
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
