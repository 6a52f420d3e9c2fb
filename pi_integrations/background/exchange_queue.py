"""The bounded queue between an application and its scores, and the thread that works on it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from pi_integrations.background.absorbed_errors import WarnOnce, is_ctrl_c
from pi_integrations.background.counts import ScorerCounts, Tally, Tickets
from pi_integrations.background.process import LazyThread
from pi_integrations.background.queued_sink import SinkGroup
from pi_integrations.background.sinks import BackgroundScore
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.telemetry import TracingSwitches

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

__all__ = ["ExchangeQueue", "LiveExchange"]

logger = logging.getLogger("pi_integrations.background")

# Seconds between the first thing added to an idle queue and the work on it.
_PAUSE = 0.005


class LiveExchange(NamedTuple):
    """What an application was asked and what it answered.

    Attributes:
        llm_input: The question alone.
        llm_output: The answer.
        parts: Added to the question by `compose_llm_input` when it is scored.
        metadata: Passed to the sinks, as are `name`, `tags` and `span`; see `BackgroundScore`.
        switches: What the submitter has switched off in tracing; it stays off while this is scored.
    """

    llm_input: str
    llm_output: str
    parts: Mapping[str, Any]
    metadata: Mapping[str, Any]
    name: str | None = None
    tags: tuple[str, ...] = ()
    span: SpanContext | None = None
    switches: TracingSwitches = TracingSwitches()


class QueuedExchange(NamedTuple):
    """An exchange that waits for its score, with its ticket."""

    ticket: int
    exchange: LiveExchange


class ExchangeQueue:
    """Has exchanges scored, passes the scores to the sinks, and counts what became of them.

    One thread does the work, from the first exchange on: it makes the deferred calls one at a time, has up to
    `max_concurrency` exchanges scored by `score` on the LoopThread, and calls the sinks. Up to `capacity` exchanges may
    wait or be scored, and as many calls wait. There is one queue per process of a `BackgroundScorer`.

    Attributes:
        exchanges: Tickets of the exchanges waiting or being scored.
        unread: Tickets of the deferred calls.
        thread: Does the work; waiting for the queue there would never end.
        left_out: Exchanges that sampling or the filters left out.
    """

    def __init__(
        self,
        score: Callable[[LiveExchange], Coroutine[Any, Any, BackgroundScore]],
        sinks: SinkGroup,
        *,
        capacity: int,
        max_concurrency: int,
    ) -> None:
        self.exchanges = Tickets(capacity)
        self.unread = Tickets(capacity)
        self.left_out = Tally("sampled_out", "filtered_out")
        self._score = score
        self._sinks = sinks
        self._capacity = capacity
        self._max_concurrency = max_concurrency
        self._deferred: deque[tuple[int, Callable[[], None]]] = deque()
        self._waiting: deque[QueuedExchange] = deque()
        self._in_flight: dict[int, Future[BackgroundScore]] = {}
        self._finished: deque[int] = deque()
        # A None for everything put into these deques, and for the end. Unlike a Condition, finalisers may use it.
        self._wake_ups: SimpleQueue[None] = SimpleQueue()
        self.thread = LazyThread(self._run, "pi-background")
        self._caller = threading.local()
        self._warn = WarnOnce(logger)

    @property
    def is_dropping(self) -> bool:
        """Whether an exchange that comes now, from this thread, will be dropped whatever it is."""
        return self.exchanges.is_closed or getattr(self._caller, "is_dropping", False)

    def counts(self) -> ScorerCounts:
        """What became of everything so far."""
        unread = len(self.unread)
        return replace(self.exchanges.counts(), unread=unread, **self.left_out.counts())

    def put(self, exchange: LiveExchange) -> bool:
        """Whether `exchange` was queued; never raises."""
        ticket = self.exchanges.admit()
        if ticket is None:
            self._warn_of_drop()
            return False
        try:
            self.thread.start()
        except Exception as error:  # noqa: BLE001 (never into the application; counted and logged)
            self._fail(ticket, error)
            return False
        self._add(self._waiting, QueuedExchange(ticket, exchange))
        return True

    def drop(self) -> None:
        """Counts an exchange for which there is no room."""
        self.exchanges.drop()
        self._warn_of_drop()

    def fail(self, error: BaseException) -> None:
        """Counts an exchange that could not be read as failed, and logs why."""
        ticket = self.exchanges.admit()
        if ticket is not None:
            self._fail(ticket, error)

    def defer(self, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Has `task` called on the queue's thread; at once, with its exchange dropped, when there is no room."""
        call = partial(copy_context().run, task, *arguments)
        ticket = self.unread.admit()
        try:
            self.thread.start()
        except Exception as error:  # noqa: BLE001 (never into the application, which may have no thread left; logged)
            self._warn.of(error, "A background scorer has no thread", about="thread")
            self._call(ticket, call)
            return
        if ticket is None:
            self._call(ticket, call)
        else:
            self._add(self._deferred, (ticket, call))

    def stop(self) -> None:
        """Drops what has no score yet; deferred calls are still made, but what they submit is dropped."""
        dropped = self.exchanges.close() + self.unread.close(drop=False)
        if dropped:
            self._warn("left", f"A background scorer stopped before {dropped} exchanges had scores; they are dropped.")
        self._wake_ups.put(None)

    def _warn_of_drop(self) -> None:
        if not self.exchanges.is_closed:
            full = f"The queue of a background scorer is full ({self._capacity} exchanges) and an exchange was dropped"
            self._warn("full", f"{full}: lower sample_rate, or raise max_concurrency or max_queue.")
        elif not self.thread.is_current:  # what the scorer's thread reads after the end, `stop` has logged
            self._warn("closed", "An exchange came after its background scorer was closed, and was dropped.")

    def _add(self, items: deque[Any], item: object) -> None:
        items.append(item)
        self._wake_ups.put(None)

    def _call(self, ticket: int | None, call: Callable[[], None]) -> None:
        was_dropping = self.is_dropping
        self._caller.is_dropping = was_dropping or ticket is None
        try:
            call()
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            self.fail(error)
        finally:
            self._caller.is_dropping = was_dropping
            if ticket is not None:
                self.unread.settle(ticket)

    def _run(self) -> None:
        while self.unread or not self.unread.is_closed:
            self._await_work()
            # One of each, so that neither slow sinks nor slow filters hold up the other for long.
            self._finish_next()
            self._begin_waiting()
            if self._deferred:
                self._call(*self._deferred.popleft())
        self._waiting.clear()
        for future in self._in_flight.values():
            future.cancel()

    def _await_work(self) -> None:
        try:
            self._wake_ups.get_nowait()
        except Empty:
            self._wake_ups.get()
            # What was added is most often the last step of a run; working at once would compete with that for the GIL.
            time.sleep(_PAUSE)

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._in_flight) < self._max_concurrency:
            ticket, exchange = self._waiting.popleft()
            if self.exchanges.is_open(ticket):
                self._begin(ticket, exchange)

    def _begin(self, ticket: int, exchange: LiveExchange) -> None:
        score = self._score(exchange)
        try:
            future = loop_thread().submit(score)
        except Exception as error:  # noqa: BLE001 (no thread left for the loop; counted and logged as every failure)
            score.close()
            self._fail(ticket, error)
            return
        self._in_flight[ticket] = future
        future.add_done_callback(lambda _: self._add(self._finished, ticket))

    def _finish_next(self) -> None:
        if not self._finished:
            return
        ticket = self._finished.popleft()
        future = self._in_flight.pop(ticket)
        try:
            score = future.result()
        except BaseException as error:  # noqa: BLE001 (SystemExit too, or it would end our thread; counted, logged)
            self._fail(ticket, error)
        else:
            if self.exchanges.is_open(ticket):
                self.exchanges.settle(ticket, is_scored=self._sinks.write(score))

    def _fail(self, ticket: int, error: BaseException) -> None:
        if self.exchanges.is_open(ticket):
            self._warn.of(error, "Scoring in the background failed")
        self.exchanges.settle(ticket, is_scored=False)
