"""Several sinks for one scorer: each gets every score, whatever the others do."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from pi_integrations.background.deadline import Deadline
from pi_integrations.background.once import WarnOnce, kind_of
from pi_integrations.background.queued_sink import QueuedSink
from pi_integrations.background.sinks import BackgroundScore, ScoreSink, SinkLike, as_sink, hand_over
from pi_integrations.background.told import Told
from pi_integrations.background.trouble import TROUBLE
from pi_integrations.errors import PiUsageError

__all__ = ["SinkGroup", "SinksLike"]

logger = logging.getLogger("pi_integrations.background")
_LOOK_SECONDS = 0.02

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
        self._warn = WarnOnce(logger)
        self._flushing: threading.Thread | None = None

    def write(self, score: BackgroundScore) -> Iterator[tuple[int, BaseException]]:
        """Hands on `score`; yields the place of every sink that raised, and what."""
        for place, sink in enumerate(self.sinks):
            try:
                hand_over(sink.write, score)
            except BaseException as error:  # noqa: BLE001 (SystemExit too, or it would end our thread; counted, logged)
                yield place, error

    def flush(self, timeout: float | None) -> bool:
        """Whether all of them delivered what they took within `timeout` seconds in all; one that raises did not.

        Raises:
            PiUsageError: in one of them, which would wait for itself.
        """
        for sink in self._queued:
            sink.refuse_itself()
        deadline = Deadline(timeout)
        done = [self._is_flushed(sink, deadline.left) for sink in self._queued]
        return all(done)

    async def aflush(self, timeout: float | None) -> bool:
        """`flush`, for an event loop; when it is cancelled, neither the loop's end nor the process's waits for it."""
        for sink in self._queued:
            sink.refuse_itself()
        deadline = Deadline(timeout)
        # One thread at a time: waits that were given up may have left one behind, in a sink that hangs.
        while self._flushing is not None and self._flushing.is_alive():
            if deadline.left == 0.0:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return not self._queued or await self._aflush(deadline.left)

    async def _aflush(self, timeout: float | None) -> bool:
        done: list[bool] = []
        told = Told()

        def flush() -> None:
            try:
                done.append(self.flush(timeout))
            finally:
                told.set()

        self._flushing = threading.Thread(target=flush, name="pi-flush", daemon=True)
        self._flushing.start()
        await told.wait()
        return done == [True]

    def _is_flushed(self, sink: QueuedSink, timeout: float | None) -> bool:
        try:
            return sink.flush(timeout)
        except TROUBLE as error:
            what = f"A sink of a background scorer could not be flushed: {type(sink).__name__}"
            self._warn((id(sink), kind_of(error)), f"{what}: {type(error).__name__}: {error}", error)
            return False
