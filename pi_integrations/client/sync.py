"""`PiClient`: the async client with every call run on the background loop and waited for.

Works in plain scripts, in threads, and inside a running notebook loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sized
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from pi_integrations.client.client import AsyncPiClient
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.client.resources import ScoringSystem, SpecLike
from pi_integrations.client.score_many import Progress, Scored
from pi_integrations.client.shared import Shared
from pi_integrations.client.sync_jobs import SyncData
from pi_integrations.client.waited import Stream, Waited
from pi_integrations.models import AggregationMethod
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["PiClient", "SyncScoringSystem"]

P = ParamSpec("P")
R = TypeVar("R")
_END = object()


class SyncScoringSystem:
    """`client.scoring_system` of a `PiClient`."""

    def __init__(self, resource: ScoringSystem) -> None:
        self._async = resource

    score = Waited(ScoringSystem.score)

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
        return iter(Stream(stream))


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


class PiClient(Shared):
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
        self.data = SyncData(self._async.data)

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
