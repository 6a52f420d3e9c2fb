"""Where background scores go."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from pi_integrations.errors import PiUsageError
from pi_integrations.models import ScoreResult

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

__all__ = ["BackgroundScore", "CallableSink", "MemorySink", "ScoreSink", "SinkLike", "as_sink", "call_sink"]


@dataclass(frozen=True, slots=True)
class BackgroundScore:
    """One exchange and its scores.

    Attributes:
        llm_input: The input as it was scored, contexts and other parts of the exchange included.
        llm_output: The answer that was scored.
        result: The scores.
        metadata: The metadata given to `submit`, untouched. The handlers of this package put `run_id` there, and where
            they know them `trace_id` and `response_id`, as strings.
        name: The name given to `submit`.
        tags: The tags given to `submit`.
        span: OpenTelemetry context of the span that was current at `submit`; None where there was none.
    """

    llm_input: str
    llm_output: str
    result: ScoreResult
    metadata: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    tags: tuple[str, ...] = ()
    span: SpanContext | None = None


@runtime_checkable
class ScoreSink(Protocol):
    """Takes scores.

    The scorer's own thread calls `write`, for one score at a time: it may block, which holds up scoring and not the
    application, and needs no lock. A score for which it raises counts as failed; the error is logged once per kind. It
    is a plain method: nobody awaits the coroutine of an `async def`.
    """

    def write(self, score: BackgroundScore) -> None:
        """Takes one score."""
        ...


class MemorySink:
    """Keeps the last `max_scores` scores.

    Raises:
        PiUsageError: when `max_scores` is below 1.

    Example:
        >>> sink = MemorySink(max_scores=100)
        >>> sink.scores
        []
    """

    def __init__(self, max_scores: int = 1000) -> None:
        if max_scores < 1:
            raise PiUsageError(f"max_scores is {max_scores}; it must be at least 1")
        self._scores: deque[BackgroundScore] = deque(maxlen=max_scores)

    @property
    def scores(self) -> list[BackgroundScore]:
        """A copy of the kept scores, oldest first."""
        return list(self._scores)

    def write(self, score: BackgroundScore) -> None:
        """Keeps `score`, and lets the oldest go when full."""
        self._scores.append(score)


class CallableSink:
    """Calls `function` with every score; a function given as `sink` becomes one.

    Raises:
        PiUsageError: for a coroutine function, which nobody would await.

    Example:
        >>> totals = []
        >>> sink = CallableSink(lambda score: totals.append(score.result.total_score))
    """

    def __init__(self, function: Callable[[BackgroundScore], object]) -> None:
        _refuse_async(function, "the sink")
        self._function = function

    def write(self, score: BackgroundScore) -> None:
        """Calls the function; raises PiUsageError when it returns a coroutine."""
        call_sink(self._function, score)


SinkLike: TypeAlias = ScoreSink | Callable[[BackgroundScore], object]


def as_sink(sink: SinkLike) -> ScoreSink:
    """`sink`, wrapped when it is a function.

    Raises:
        PiUsageError: when it is neither, or its `write` is a coroutine function.
    """
    if isinstance(sink, ScoreSink):
        _refuse_async(sink.write, f"write of the sink, a {type(sink).__name__},")
        return sink
    if callable(sink):
        return CallableSink(sink)
    raise PiUsageError(f"sink is a {type(sink).__name__}; give an object with write(score), or a function of the score")


def call_sink(write: Callable[[BackgroundScore], object], score: BackgroundScore) -> None:
    """Calls `write`, the method of a sink or a function; raises PiUsageError when it returns a coroutine."""
    returned = write(score)
    if isinstance(returned, Coroutine):
        returned.close()
        what = f"the sink's write returned a {type(returned).__name__} that nobody awaits"
        raise PiUsageError(f"{what}; give a plain function, it runs in a thread of its own")


def _refuse_async(function: Any, what: str) -> None:
    while isinstance(function, partial):
        function = function.func
    for each in (function, type(function).__call__):
        if inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each):
            raise PiUsageError(f"{what} is a coroutine function; give a plain one, it runs in a thread of its own")
