"""The thread of a background scorer: starts scores on the background loop, a few at a time, and hands them on.

The application's side is one `append` to a deque: no lock, and no system call while there is traffic, since waking a
thread costs more than all the rest. The worker looks for itself, and must be woken only after a quiet second. What was
handed over unread it reads first.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pi_integrations.background.deferred import Deferred
from pi_integrations.background.sinks import BackgroundScore
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.telemetry.switches import TracingSwitches

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

__all__ = ["Exchange", "Job", "Worker"]

_LOOK_EVERY = 0.02
# Seconds at a time for what was deferred: were it read to its end, scoring would wait for that while more comes.
_READ_FOR = 0.02
_QUIET_LOOKS = 50


class Exchange(NamedTuple):
    """What an application was asked and what it answered.

    Attributes:
        llm_input: The question alone.
        llm_output: The answer.
        parts: What `compose_llm_input` adds to the question; composed only when it is scored.
        metadata: Handed to the sink.
        name: What made the answer; handed to the sink.
        tags: Its tags; handed to the sink.
        span: OpenTelemetry context of the span it belongs to; handed to the sink.
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


class Job(NamedTuple):
    """An exchange to score, and its ticket in the ledger."""

    ticket: int
    exchange: Exchange


class _Done(NamedTuple):
    job: Job
    future: Future[BackgroundScore]


class _Look:
    """Says that there may be new jobs."""


_LOOK: Final = _Look()


class Worker:
    """A daemon thread, started with the first job.

    Args:
        score: Makes the coroutine that scores an exchange; it runs on the LoopThread.
        finish: Called on this thread with a job and its finished future; must not raise.
        max_concurrency: Coroutines at a time.
        deferred: Tasks to run on this thread.
    """

    def __init__(
        self,
        score: Callable[[Exchange], Coroutine[Any, Any, BackgroundScore]],
        finish: Callable[[Job, Future[BackgroundScore]], None],
        max_concurrency: int,
        deferred: Deferred,
    ) -> None:
        self._score = score
        self._finish = finish
        self._max_concurrency = max_concurrency
        self._deferred = deferred
        self._waiting: deque[Job] = deque()
        self._inbox: SimpleQueue[_Look | _Done | None] = SimpleQueue()
        self._in_flight: dict[int, Future[BackgroundScore]] = {}
        # Reentrant: a garbage collection in `_start` may run a finaliser that submits.
        self._starting = threading.RLock()
        self._quiet = 0
        self._is_behind = False
        self._stopped = False
        self.thread: threading.Thread | None = None

    def put(self, job: Job) -> None:
        """Takes `job`, and returns at once."""
        self._waiting.append(job)
        if not self._deferred.is_attended:
            self.wake()

    def wake(self) -> None:
        """Sees to it that the thread runs, and looks."""
        if self.thread is None:
            self._start()
        self.look()

    def look(self) -> None:
        """Makes it take what is there now, not a moment later."""
        self._inbox.put(_LOOK)

    def stop(self) -> None:
        """Cancels what is being scored and ends the thread; what still waits is forgotten."""
        self._stopped = True
        self._inbox.put(None)

    def _start(self) -> None:
        with self._starting:
            # A context of its own, so that scoring is never traced as part of the run that happened to start it.
            run = contextvars.Context().run
            thread = threading.Thread(target=run, args=(self._run,), name="pi-background", daemon=True)
            if self.thread is not None:
                return
            # Known before it runs: a sink that flushes is told apart by its thread.
            self.thread = thread
            try:
                thread.start()
            except BaseException:
                self.thread = None
                raise

    def _run(self) -> None:
        self._deferred.is_attended = True
        self._begin_waiting()
        while (message := self._next()) is not None:
            if isinstance(message, _Done):
                del self._in_flight[message.job.ticket]
                self._finish(message.job, message.future)
            # It may be quiet for long, and an exchange may be large.
            del message
            self._begin_waiting()
        self._deferred.is_attended = False
        self._deferred.run_all()
        for future in self._in_flight.values():
            future.cancel()
        self._waiting.clear()

    def _next(self) -> _Look | _Done | None:
        try:
            return self._inbox.get(timeout=0.0 if self._is_behind else _LOOK_EVERY)
        except Empty:
            self._quiet = self._quiet + 1 if self._is_idle() else 0
        return _LOOK if self._quiet < _QUIET_LOOKS else self._sleep()

    def _sleep(self) -> _Look | _Done | None:
        self._quiet = 0
        # Said before it looks a last time, and read after something has come: one of the two sees the other.
        self._deferred.is_attended = False
        message = self._inbox.get() if self._is_idle() else _LOOK
        self._deferred.is_attended = True
        return message

    def _is_idle(self) -> bool:
        is_full = len(self._in_flight) >= self._max_concurrency
        return not self._deferred and (is_full or not self._waiting)

    def _begin_waiting(self) -> None:
        self._is_behind = self._deferred.run_all(_READ_FOR)
        while self._waiting and len(self._in_flight) < self._max_concurrency and not self._stopped:
            self._begin(self._waiting.popleft())

    def _begin(self, job: Job) -> None:
        score = self._score(job.exchange)
        try:
            future = loop_thread().submit(score)
        except Exception as error:  # noqa: BLE001 (no thread left for the loop; counted and logged as every failure)
            score.close()
            future = Future()
            future.set_exception(error)
        self._in_flight[job.ticket] = future
        future.add_done_callback(lambda done: self._inbox.put(_Done(job, done)))
