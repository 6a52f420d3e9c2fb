"""Sinks that would have to be awaited: refused where that can be seen, else counted as failed; never as scored."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pi_integrations import AsyncPiClient, PiUsageError, ScoreResult
from pi_integrations.background import (
    BackgroundScore,
    BackgroundScorer,
    CallableSink,
    MemorySink,
    QueuedSink,
    ScorerCounts,
    SinkCounts,
)

RUBRIC = [{"question": "Is the answer polite?"}]
SCORE = BackgroundScore("Hello?", "Good day", ScoreResult(question_scores={}, total_score=0.9))


async def write_later(*_: Any) -> None: ...


class AsyncWrite:
    async def write(self, score: BackgroundScore) -> None: ...


class PartialWrite:
    write = staticmethod(partial(write_later, "scores"))


class AsyncCall:
    async def __call__(self, score: BackgroundScore) -> None: ...


class AsyncCallWrite:
    write = AsyncCall()


SEEN = {
    "a method": AsyncWrite(),
    "a partial method": PartialWrite(),
    "a callable object": AsyncCall(),
    "a callable object for a method": AsyncCallWrite(),
    "a function": write_later,
    "a bound method": AsyncWrite().write,
    "a partial": partial(write_later, "scores"),
    "a partial of a partial": partial(partial(write_later, 1), 2),
    "a partial of a callable object": partial(AsyncCall()),
}


@pytest.mark.parametrize("sink", SEEN.values(), ids=SEEN)
def test_a_sink_that_can_be_seen_to_be_async_is_refused(client: AsyncPiClient, sink: Any) -> None:
    """Where it is given: to a scorer, in a list, behind a queue; the message says what to give."""
    given: list[Callable[[], Any]] = [
        lambda: BackgroundScorer(RUBRIC, client=client, sink=sink),
        lambda: BackgroundScorer(RUBRIC, client=client, sink=[MemorySink(), sink]),
        lambda: QueuedSink(sink),
    ]
    for make in given:
        with pytest.raises(PiUsageError, match="is a coroutine function; give a plain one"):
            make()


class PlainWrite:
    def write(self, score: BackgroundScore) -> Any:
        """What somebody else would await."""
        return write_later(score)


UNSEEN = {"a function": lambda score: write_later(score), "a method": PlainWrite()}


@pytest.mark.parametrize("sink", UNSEEN.values(), ids=UNSEEN)
def test_a_sink_that_returns_a_coroutine_fails_the_score(
    client: AsyncPiClient, caplog: pytest.LogCaptureFixture, sink: Any
) -> None:
    """It is not scored, the log says why, the sinks beside it have it, and Python warns of nothing."""
    memory = MemorySink()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with BackgroundScorer(RUBRIC, client=client, sink=[sink, memory]) as scorer:
            scorer.submit(llm_input="Hello?", llm_output="Good day")
            assert scorer.flush(10)
            assert scorer.counts() == ScorerCounts(submitted=1, failed=1)
        gc.collect()
    assert [str(warning.message) for warning in warned] == []
    assert len(memory.scores) == 1
    assert "write returned a coroutine that nobody awaits; give a plain function" in caplog.text


@pytest.mark.parametrize("sink", UNSEEN.values(), ids=UNSEEN)
def test_a_queued_sink_counts_it_as_failed(caplog: pytest.LogCaptureFixture, sink: Any) -> None:
    """In its own counts, as what it took is written later."""
    with QueuedSink(sink) as queued:
        queued.write(SCORE)
        assert queued.flush(10)
        assert queued.counts() == SinkCounts(given=1, failed=1)
    assert "that nobody awaits" in caplog.text


def test_a_callable_sink_of_ones_own_raises() -> None:
    """Whoever calls it."""
    with pytest.raises(PiUsageError, match="that nobody awaits"):
        CallableSink(lambda score: write_later(score)).write(SCORE)


class Sent:
    """The future of something that has begun."""

    def __await__(self) -> Any:
        """Nothing."""
        return iter(())


def test_what_is_on_its_way_need_not_be_awaited() -> None:
    """A function may return what it began elsewhere."""
    CallableSink(lambda score: Sent()).write(SCORE)
