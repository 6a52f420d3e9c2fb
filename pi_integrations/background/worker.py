"""The thread of a background scorer: starts scores on the background loop, a few at a time, and hands them on.

The application's side is one `put` on a `SimpleQueue`: no system call, no lock that a slow part could hold.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from pi_integrations.background.sinks import BackgroundScore
from pi_integrations.client.loop_thread import loop_thread

__all__ = ["Exchange", "Job", "Worker"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What an application was asked and what it answered.

    Attributes:
        llm_input: The question alone.
        llm_output: The answer.
        parts: What `compose_llm_input` adds to the question; composed only when it is scored.
        metadata: Handed to the sink.
    """

    llm_input: str
    llm_output: str
    parts: Mapping[str, Any]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """An exchange to score, and its ticket in the ledger."""

    ticket: int
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class _Done:
    job: Job
    future: Future[BackgroundScore]


class Worker:
    """A daemon thread, started with the first job.

    Args:
        score: Makes the coroutine that scores an exchange; it runs on the LoopThread.
        finish: Called on this thread with a job and its finished future; must not raise.
        max_concurrency: Coroutines at a time.
    """

    def __init__(
        self,
        score: Callable[[Exchange], Coroutine[Any, Any, BackgroundScore]],
        finish: Callable[[Job, Future[BackgroundScore]], None],
        max_concurrency: int,
    ) -> None:
        self._score = score
        self._finish = finish
        self._max_concurrency = max_concurrency
        self._inbox: SimpleQueue[Job | _Done | None] = SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._in_flight: dict[int, Future[BackgroundScore]] = {}
        self._starting = threading.Lock()
        self._stopped = False
        self.thread: threading.Thread | None = None

    def put(self, job: Job) -> None:
        """Takes `job`, and returns at once."""
        if self.thread is None:
            self._start()
        self._inbox.put(job)

    def stop(self) -> None:
        """Cancels what is being scored and ends the thread; what still waits is forgotten."""
        self._stopped = True
        self._inbox.put(None)

    def _start(self) -> None:
        with self._starting:
            if self.thread is None:
                # A context of its own, so that scoring is never traced as part of the run that happened to start it.
                run = contextvars.Context().run
                thread = threading.Thread(target=run, args=(self._run,), name="pi-background", daemon=True)
                thread.start()
                self.thread = thread

    def _run(self) -> None:
        while (message := self._inbox.get()) is not None:
            if isinstance(message, Job):
                self._waiting.append(message)
            else:
                del self._in_flight[message.job.ticket]
                self._finish(message.job, message.future)
            while self._waiting and len(self._in_flight) < self._max_concurrency and not self._stopped:
                self._begin(self._waiting.popleft())
        for future in self._in_flight.values():
            future.cancel()

    def _begin(self, job: Job) -> None:
        future = loop_thread().submit(self._score(job.exchange))
        self._in_flight[job.ticket] = future
        future.add_done_callback(lambda done: self._inbox.put(_Done(job, done)))
