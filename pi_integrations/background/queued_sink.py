"""A sink with a thread of its own, for places that are slow to write to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from pi_integrations.background.at_exit import drain_at_exit
from pi_integrations.background.forks import reset_after_fork
from pi_integrations.background.ledger import Ledger
from pi_integrations.background.once import WarnOnce, kind_of
from pi_integrations.background.sinks import BackgroundScore, SinkLike, as_sink, hand_over
from pi_integrations.client.loop_thread import abandon
from pi_integrations.errors import PiError, PiUsageError

__all__ = ["QueuedSink", "SinkCounts"]

logger = logging.getLogger("pi_integrations.background")


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
    """Takes scores at once and hands them to `sink` in a thread of its own, one at a time, in their order.

    A slow sink holds up the scorer, and the other sinks with it; behind one of these it holds up nobody. What does not
    fit is refused, which the scorer counts as failed. What `sink` raises is counted here, and logged once per kind.
    Flushing the scorer flushes it too; `close` it, or let the end of the process do that.

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
        self._delivery = _Delivery(self._deliver, max_queue)
        reset_after_fork(self)
        drain_at_exit(self)

    def start_over(self) -> None:
        """Empties the queue and sets the counts to 0; called in a forked child."""
        abandon(self._delivery)
        self._delivery = _Delivery(self._deliver, self._max_queue)

    def write(self, score: BackgroundScore) -> None:
        """Takes `score`, at once.

        Raises:
            PiError: when the queue is full or closed.
        """
        if not self._delivery.put(score):
            why = "is closed" if self._delivery.ledger.closed else f"is full ({self._max_queue} scores)"
            raise PiError(f"the queue of {type(self.sink).__name__} {why}: it is slower than the scores come")

    def _deliver(self, score: BackgroundScore) -> bool:
        try:
            hand_over(self.sink.write, score)
        except BaseException as error:  # noqa: BLE001 (SystemExit too, or it would end our thread; counted, logged)
            name = type(self.sink).__name__
            self._warn(kind_of(error), f"{name} did not take a score: {type(error).__name__}: {error}", error)
            return False
        return True

    def counts(self) -> SinkCounts:
        """What became of everything so far."""
        counts = self._delivery.ledger.counts()
        return SinkCounts(counts.submitted, counts.scored, counts.failed, counts.dropped, counts.pending)

    def flush(self, timeout: float | None = None) -> bool:
        """Whether everything taken so far was written, failed or dropped within `timeout` seconds.

        Raises:
            PiUsageError: in the sink behind it, where it would wait for itself.
        """
        self.refuse_itself()
        return self._delivery.ledger.wait(timeout)

    def refuse_itself(self) -> None:
        """Nothing, but in the sink behind it.

        Raises:
            PiUsageError: there, where a flush would wait for itself.
        """
        if threading.current_thread() is self._delivery.thread:
            raise PiUsageError("flush was called by the sink itself, where it would wait for itself")

    def close(self, timeout: float | None = 0.0) -> None:
        """Waits up to `timeout` seconds for what was taken, drops the rest, and stops; later scores are refused."""
        try:
            self.flush(timeout)
        finally:
            if dropped := self._delivery.stop():
                self._warn("left", f"{type(self.sink).__name__} was closed before it took {dropped} scores.")

    def __enter__(self) -> QueuedSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(self.exit_timeout)


class _Delivery:
    """The queue and its thread, which starts with the first score; one per process of a `QueuedSink`."""

    def __init__(self, deliver: Callable[[BackgroundScore], bool], capacity: int) -> None:
        self.ledger = Ledger(capacity)
        self.thread: threading.Thread | None = None
        self._deliver = deliver
        self._inbox: SimpleQueue[tuple[int, BackgroundScore] | None] = SimpleQueue()
        self._starting = threading.Lock()

    def put(self, score: BackgroundScore) -> bool:
        ticket = self.ledger.admit()
        if ticket is None:
            return False
        self._inbox.put((ticket, score))
        with self._starting:
            if self.thread is None:
                # Known before it runs, and only if it does: a sink that flushes is told apart by its thread.
                self.thread = threading.Thread(target=self._run, name="pi-sink", daemon=True)
                try:
                    self.thread.start()
                except BaseException:
                    self.thread = None
                    raise
        return True

    def stop(self) -> int:
        self._inbox.put(None)
        return self.ledger.close()

    def _run(self) -> None:
        while (item := self._inbox.get()) is not None:
            ticket, score = item
            if self.ledger.is_open(ticket):
                self.ledger.settle(ticket, scored=self._deliver(score))
            del item, score
