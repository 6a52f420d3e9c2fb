"""Several sinks for one scorer: each gets every score, whatever the others do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from pi_integrations.background.deadline import Deadline
from pi_integrations.background.queued_sink import QueuedSink
from pi_integrations.background.sinks import BackgroundScore, ScoreSink, SinkLike, as_sink, hand_over
from pi_integrations.errors import PiUsageError

__all__ = ["SinkGroup", "SinksLike"]

SinksLike: TypeAlias = SinkLike | Sequence[SinkLike]


class SinkGroup:
    """Hands each score to all of `sinks`, in their order.

    Raises:
        PiUsageError: when one of them is no sink, or there is none.
    """

    def __init__(self, sinks: SinksLike) -> None:
        given = list(sinks) if isinstance(sinks, Iterable) and not isinstance(sinks, ScoreSink) else [sinks]
        self.sinks: tuple[ScoreSink, ...] = tuple(as_sink(sink) for sink in given)
        if not self.sinks:
            raise PiUsageError("sink is empty; give at least one sink")
        self._queued = [sink for sink in self.sinks if isinstance(sink, QueuedSink)]

    @property
    def has_queues(self) -> bool:
        """Whether any of them is a `QueuedSink`, which delivers later than it takes."""
        return bool(self._queued)

    def write(self, score: BackgroundScore) -> Iterator[tuple[int, BaseException]]:
        """Hands on `score`; yields the place of every sink that raised, and what."""
        for place, sink in enumerate(self.sinks):
            try:
                hand_over(sink.write, score)
            except BaseException as error:  # noqa: BLE001 (SystemExit too, or it would end our thread; counted, logged)
                yield place, error

    def flush(self, timeout: float | None) -> bool:
        """Whether all of them delivered what they took within `timeout` seconds in all."""
        deadline = Deadline(timeout)
        done = [sink.flush(deadline.left) for sink in self._queued]
        return all(done)
