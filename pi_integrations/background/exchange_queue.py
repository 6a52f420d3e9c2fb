"""The bounded queue between an application and its scores; one per process of a `BackgroundScorer`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from pi_integrations.background.deferred import Deferred
from pi_integrations.background.ledger import Ledger
from pi_integrations.background.once import WarnOnce, kind_of
from pi_integrations.background.sink_group import SinkGroup
from pi_integrations.background.sinks import BackgroundScore
from pi_integrations.background.worker import Exchange, Job, Worker

__all__ = ["ExchangeQueue"]

_PATIENCE = 0.05

logger = logging.getLogger("pi_integrations.background")


class ExchangeQueue:
    """Takes exchanges, has them scored, gives the scores to the sinks, and keeps the book.

    Attributes:
        deferred: What is to be read before it can be put here; it is read on the worker's thread.
        ledger: What became of everything.

    Args:
        score: Makes the coroutine that scores one exchange; it runs on the LoopThread.
        sinks: Take the scores, on the worker's thread.
        capacity: Exchanges waiting or being scored at a time, and as many that were not read yet.
        max_concurrency: Scores asked for at a time.
    """

    def __init__(
        self,
        score: Callable[[Exchange], Coroutine[Any, Any, BackgroundScore]],
        sinks: SinkGroup,
        *,
        capacity: int,
        max_concurrency: int,
    ) -> None:
        self.ledger = Ledger(capacity)
        self._capacity = capacity
        self._sinks = sinks
        self.deferred = Deferred(self._attend, self.refuse, capacity)
        self._worker = Worker(score, self._finish, max_concurrency, self.deferred)
        self._warn = WarnOnce(logger)
        self._is_stopping = False

    @property
    def thread(self) -> object:
        """The thread that calls the sinks; None before the first exchange."""
        return self._worker.thread

    def put(self, exchange: Exchange) -> bool:
        """Whether there was room for `exchange`; never raises."""
        ticket = self.ledger.admit()
        if ticket is None:
            self._warn_dropped()
            return False
        try:
            self._worker.put(Job(ticket, exchange))
        except Exception as error:  # noqa: BLE001 (never into the application; counted and logged)
            self._fail(ticket, error)
            return False
        return True

    def is_refusing(self) -> bool:
        """Whether an exchange that comes now, from here, will be dropped whatever it is."""
        return self.ledger.closed or self.deferred.is_refusing()

    def drop(self) -> None:
        """Counts an exchange for which there is no room."""
        self.ledger.drop()
        self._warn_dropped()

    def look(self) -> None:
        """Makes the worker take what is there now, not a moment later."""
        self._worker.look()

    def refuse(self, error: BaseException) -> None:
        """Counts an exchange that could not even be looked at as failed, and logs why."""
        ticket = self.ledger.admit()
        if ticket is not None:
            self._fail(ticket, error)

    def stop(self) -> None:
        """Drops what has no scores yet, and ends the thread; whatever comes later is dropped."""
        before = self.ledger.counts().dropped
        self._is_stopping = True
        self.ledger.close()
        unread = self.deferred.close(_PATIENCE)
        self._is_stopping = unread > 0
        self._worker.stop()
        if dropped := self.ledger.counts().dropped - before + unread:
            self._warn("left", f"A background scorer stopped before {dropped} exchanges had scores; they are dropped.")

    def _attend(self) -> bool:
        try:
            self._worker.wake()
        except Exception as error:  # noqa: BLE001 (never into the application; it waits for whoever looks)
            self._warn(kind_of(error), f"A background scorer has no thread: {type(error).__name__}: {error}", error)
            return False
        return True

    def _warn_dropped(self) -> None:
        if self._is_stopping:
            return
        if self.ledger.closed:
            self._warn("closed", "An exchange came after its background scorer was closed, and was dropped.")
            return
        self._warn(
            "full",
            f"The queue of a background scorer is full ({self._capacity} exchanges) and an exchange was dropped: lower"
            " sample_rate, or raise max_concurrency or max_queue.",
        )

    def _finish(self, job: Job, future: Future[BackgroundScore]) -> None:
        try:
            score = future.result()
        except BaseException as error:  # noqa: BLE001 (SystemExit too, or it would end our thread; counted, logged)
            self._fail(job.ticket, error)
        else:
            if self.ledger.is_open(job.ticket):
                self._hand_on(job.ticket, score)

    def _hand_on(self, ticket: int, score: BackgroundScore) -> None:
        taken = True
        for place, error in self._sinks.write(score):
            taken = False
            name = type(self._sinks.sinks[place]).__name__
            what = f"A sink of a background scorer failed: {name}: {type(error).__name__}: {error}"
            self._warn((place, kind_of(error)), what, error)
        self.ledger.settle(ticket, scored=taken)

    def _fail(self, ticket: int, error: BaseException) -> None:
        if self.ledger.is_open(ticket):
            self._warn(kind_of(error), f"Scoring in the background failed: {type(error).__name__}: {error}", error)
        self.ledger.settle(ticket, scored=False)
