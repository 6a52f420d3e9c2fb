"""`PiClient`: the async client with every call run on the background loop and waited for.

Works in plain scripts, in threads, and inside a running notebook loop.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sized
from functools import update_wrapper
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from pi_integrations.client.client import AsyncPiClient
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.client.resources import ScoringSystem, SpecLike
from pi_integrations.client.score_many import Progress, Scored
from pi_integrations.client.settings import UnscoredPolicy
from pi_integrations.models import AggregationMethod

__all__ = ["PiClient", "SyncScoringSystem"]

P = ParamSpec("P")
R = TypeVar("R")
_END = object()


class _Waited(Generic[P, R]):
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


class SyncScoringSystem:
    """`client.scoring_system` of a `PiClient`."""

    def __init__(self, resource: ScoringSystem) -> None:
        self._async = resource

    score = _Waited(ScoringSystem.score)

    def score_many(
        self,
        rows: Iterable[Any],
        *,
        scoring_spec: SpecLike,
        aggregation_method: AggregationMethod | str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        unscored: UnscoredPolicy | None = None,
        ordered: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Iterator[Scored]:
        """A `Scored` per row; see `ScoringSystem.score_many`. `rows` is read in a thread, so it may block."""
        stream = self._async.score_many(
            _SizedInThread(rows) if isinstance(rows, Sized) else _InThread(rows),
            scoring_spec=scoring_spec,
            aggregation_method=aggregation_method,
            kwargs=kwargs,
            unscored=unscored,
            ordered=ordered,
            on_progress=on_progress,
        )
        return iter(_Stream(stream))


class _Stream:
    """A stream of scored rows on the background loop, advanced and closed from other threads."""

    def __init__(self, rows: AsyncIterator[Scored]) -> None:
        self._rows = rows
        self._pid = os.getpid()
        self._step: asyncio.Task[Any] | None = None

    async def _advance(self) -> Scored | None:
        self._step = asyncio.current_task()
        return await anext(self._rows, None)

    async def _close(self) -> None:
        # A step that was interrupted (Ctrl+C) is still unwinding, and a generator cannot be closed while it runs.
        if self._step is not None and not self._step.done():
            self._step.cancel()
            await asyncio.wait([self._step])
        await self._rows.aclose()  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[Scored]:
        try:
            while (scored := loop_thread().run(self._advance())) is not None:
                yield scored
        finally:
            self._finish()

    def _finish(self) -> None:
        """Closes the stream, wherever the caller's iterator is finalised: nothing can be waited for at exit, on the
        loop's own thread, or in a forked child."""
        if sys.is_finalizing() or self._pid != os.getpid():
            return
        if threading.current_thread() is loop_thread().thread:
            loop_thread().submit(self._close())
        else:
            loop_thread().run(self._close())


class _InThread:
    """Rows read in a thread, so that reading may block."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = rows

    async def __aiter__(self) -> AsyncIterator[Any]:
        iterator = iter(self._rows)
        while (row := await asyncio.to_thread(next, iterator, _END)) is not _END:
            yield row


class _SizedInThread(_InThread):
    def __len__(self) -> int:
        return len(self._rows)  # type: ignore[arg-type]


class PiClient:
    """The client for synchronous code; takes the arguments of `AsyncPiClient`.

    Example:
        ```python
        with PiClient() as client:
            scores = client.scoring_system.score(
                llm_input="Where is my order?",
                llm_output="It left our warehouse this morning.",
                scoring_spec=[{"question": "Does the answer say where the order is?"}],
            )
        ```
    """

    def __init__(self, *args: Any, client: AsyncPiClient | None = None, **kwargs: Any) -> None:
        self._async = client or AsyncPiClient(*args, **kwargs)
        self.settings = self._async.settings
        self.scoring_system = SyncScoringSystem(self._async.scoring_system)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.settings.base_url!r})"

    @property
    def asynchronous(self) -> AsyncPiClient:
        """The async client behind this one; both may be used at the same time."""
        return self._async

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; a later call opens them anew."""
        loop_thread().run(self._async.aclose())
