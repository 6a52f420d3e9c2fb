"""Sinks that are slow to write to get a thread of their own; and the group of all the sinks of one scorer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeAlias

from pi_integrations.background.absorbed_errors import ABSORBED_ERRORS, WarnOnce
from pi_integrations.background.counts import Deadline, Tickets, until
from pi_integrations.background.process import LazyThread, drain_at_exit, reset_after_fork
from pi_integrations.background.sinks import BackgroundScore, ScoreSink, SinkLike, as_sink, call_sink
from pi_integrations.client.loop_thread import abandon
from pi_integrations.errors import PiError, PiUsageError

__all__ = ["QueuedSink", "SinkCounts", "SinkGroup", "SinksLike"]

logger = logging.getLogger("pi_integrations.background")

SinksLike: TypeAlias = SinkLike | Sequence[SinkLike]


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """What became of the scores given to a `QueuedSink`; `given == written + failed + dropped + pending`.

    Attributes:
        given: Scores given to `write`.
        written: Taken by the sink behind it.
        failed: The sink behind it raised.
        dropped: Refused because the queue was full or closed, or never written because it was closed.
        pending: Waiting, or being written.
    """

    given: int = 0
    written: int = 0
    failed: int = 0
    dropped: int = 0
    pending: int = 0


class QueuedSink:
    """Takes scores at once and passes them to `sink` in a thread of its own, one at a time, in their order.

    A slow sink holds up the scorer and its other sinks; behind a `QueuedSink` it holds up nobody. A score that does not
    fit is refused, which the scorer counts as failed. Errors of `sink` are counted here, and logged once per kind.
    Flushing the scorer flushes this too. `close` it, or let the end of the process do that.

    Args:
        sink: Where the scores go: an object with `write(score)`, or a function of the score.
        max_queue: Scores waiting or being written at a time; default 1,000. Their texts stay in memory.
        exit_timeout: Seconds that waiting scores may hold up the exit of the interpreter; default 5.

    Raises:
        PiUsageError: when `sink` is none, or a number is out of range.

    Example:
        >>> def send(score):
        ...     "Something slow."
        >>> with QueuedSink(send, max_queue=100) as sink:
        ...     sink.counts()
        SinkCounts(given=0, written=0, failed=0, dropped=0, pending=0)
    """

    def __init__(self, sink: SinkLike, *, max_queue: int = 1000, exit_timeout: float = 5.0) -> None:
        if max_queue < 1 or not 0 <= exit_timeout < float("inf"):
            raise PiUsageError(
                f"max_queue is {max_queue} and exit_timeout {exit_timeout}; give at least 1, and seconds ≥ 0"
            )
        self.sink = as_sink(sink)
        self.exit_timeout = exit_timeout
        self._max_queue = max_queue
        self._warn = WarnOnce(logger)
        self._begin()
        reset_after_fork(self)
        drain_at_exit(self)

    def start_over(self) -> None:
        """Empties the queue and sets the counts to 0; called in a forked child."""
        abandon((self._thread, self._tickets, self._inbox))
        self._begin()

    def _begin(self) -> None:
        self._thread = LazyThread(self._run, "pi-sink")
        self._tickets = Tickets(self._max_queue)
        self._inbox: SimpleQueue[tuple[int, BackgroundScore] | None] = SimpleQueue()

    def write(self, score: BackgroundScore) -> None:
        """Takes `score`, at once.

        Raises:
            PiError: when the queue is full or closed.
        """
        self._thread.start()
        ticket = self._tickets.admit()
        if ticket is None:
            why = "is closed" if self._tickets.is_closed else f"is full ({self._max_queue} scores)"
            raise PiError(f"the queue of {type(self.sink).__name__} {why}: it is slower than the scores come")
        self._inbox.put((ticket, score))

    def _run(self) -> None:
        while (item := self._inbox.get()) is not None:
            ticket, score = item
            if self._tickets.is_open(ticket):
                self._tickets.settle(ticket, is_scored=self._deliver(score))
            # The next one may be long in coming, and a score may be large.
            del item, score

    def _deliver(self, score: BackgroundScore) -> bool:
        try:
            call_sink(self.sink.write, score)
        except BaseException as error:  # noqa: BLE001 (SystemExit too, or it would end our thread; counted, logged)
            self._warn.of(error, f"{type(self.sink).__name__} did not take a score")
            return False
        return True

    def counts(self) -> SinkCounts:
        """What became of everything so far."""
        counts = self._tickets.counts()
        return SinkCounts(counts.submitted, counts.scored, counts.failed, counts.dropped, counts.pending)

    def flush(self, timeout: float | None = None) -> bool:
        """Whether everything taken so far was written, failed or dropped within `timeout` seconds.

        Raises:
            PiUsageError: in the sink behind it, where it would wait for itself.
        """
        self.refuse_own_thread()
        return self._tickets.wait(timeout)

    def refuse_own_thread(self) -> None:
        """Raises PiUsageError on this sink's own thread, where a flush would wait for itself."""
        if self._thread.is_current:
            raise PiUsageError("flush was called by the sink itself, where it would wait for itself")

    def close(self, timeout: float | None = 0.0) -> None:
        """Waits up to `timeout` seconds for what was taken, drops the rest, and stops; later scores are refused."""
        try:
            self.flush(timeout)
        finally:
            self._inbox.put(None)
            if dropped := self._tickets.close():
                self._warn("left", f"{type(self.sink).__name__} was closed before it took {dropped} scores.")

    def __enter__(self) -> QueuedSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(self.exit_timeout)


class SinkGroup:
    """Passes each score to all of `sinks`, in their order, whatever the others do with it.

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
        self._flushing = threading.Thread()

    def write(self, score: BackgroundScore) -> bool:
        """Whether every sink took `score`; the errors of the others are logged once per kind."""
        # A list: `all` alone would pass over the sinks behind one that failed.
        written = [self._is_written(score, index, sink) for index, sink in enumerate(self.sinks)]
        return all(written)

    def _is_written(self, score: BackgroundScore, index: int, sink: ScoreSink) -> bool:
        try:
            call_sink(sink.write, score)
        except BaseException as error:  # noqa: BLE001 (SystemExit too, or it would end our thread; counted, logged)
            self._warn.of(error, f"A sink of a background scorer failed: {type(sink).__name__}", about=index)
            return False
        return True

    def flush(self, timeout: float | None) -> bool:
        """Whether the queued sinks wrote everything within `timeout` seconds in all; one that raises did not.

        Raises:
            PiUsageError: in one of them, which would wait for itself.
        """
        for sink in self._queued:
            sink.refuse_own_thread()
        deadline = Deadline(timeout)
        flushed = [self._is_flushed(sink, deadline.left) for sink in self._queued]
        return all(flushed)

    async def aflush(self, timeout: float | None) -> bool:
        """`flush`, for an event loop; once cancelled, it holds up neither the loop's end nor the process's."""
        if not self._queued:
            return True
        for sink in self._queued:
            sink.refuse_own_thread()
        deadline = Deadline(timeout)
        # One thread at a time: a cancelled wait may have left one behind, in a sink that hangs.
        if not await until(lambda: not self._flushing.is_alive(), deadline.left):
            return False
        done: list[bool] = []
        # A thread, because `flush` of a subclass may block: that of LangSmith's client does.
        self._flushing = threading.Thread(
            target=lambda: done.append(self.flush(deadline.left)), name="pi-flush", daemon=True
        )
        self._flushing.start()
        return await until(lambda: not self._flushing.is_alive(), None) and done == [True]

    def _is_flushed(self, sink: QueuedSink, timeout: float | None) -> bool:
        try:
            return sink.flush(timeout)
        except ABSORBED_ERRORS as error:
            what = f"A sink of a background scorer could not be flushed: {type(sink).__name__}"
            self._warn.of(error, what, about=id(sink))
            return False
