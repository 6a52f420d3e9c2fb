"""Async methods and streams for synchronous code: run on the background loop, and waited for."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from pi_integrations.client.loop_thread import abandon, loop_thread

__all__ = ["Stream", "Waited"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Waited(Generic[P, R]):
    """A descriptor: the same method, signature and docstring, but it returns the result instead of a coroutine."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        self._method = method
        update_wrapper(self, method)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Any, owner: type) -> Callable[P, R]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return loop_thread().run(self._method(instance._async, *args, **kwargs))

        return update_wrapper(call, self._method)


class _Closable(Protocol[R_co]):
    def __aiter__(self) -> AsyncIterator[R_co]: ...
    async def __anext__(self) -> R_co: ...
    async def aclose(self) -> None: ...


class Stream(Generic[R]):
    """What an async iterator gives, on the background loop; advanced and closed from other threads."""

    def __init__(self, rows: _Closable[R]) -> None:
        self._rows = rows
        self._pid = os.getpid()
        self._step: asyncio.Task[Any] | None = None

    async def _advance(self) -> R | None:
        self._pid = os.getpid()
        self._step = asyncio.current_task()
        return await anext(self._rows, None)

    async def _close(self) -> None:
        # A step that was interrupted (Ctrl+C) is still unwinding, and a generator cannot be closed while it runs.
        if self._step is not None and not self._step.done():
            self._step.cancel()
            await asyncio.wait([self._step])
        await self._rows.aclose()

    def __iter__(self) -> Iterator[R]:
        try:
            while (row := loop_thread().run(self._advance())) is not None:
                yield row
        finally:
            self._finish()

    def _finish(self) -> None:
        """Closes the stream, wherever the caller's iterator is finalised: nothing can be waited for at exit, on the
        loop's own thread, or in a forked child."""
        if self._pid != os.getpid():
            abandon(self._rows)
            return
        if sys.is_finalizing():
            return
        if threading.current_thread() is loop_thread().thread:
            loop_thread().submit(self._close())
        else:
            loop_thread().run(self._close())
