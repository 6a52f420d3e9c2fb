"""The thread of a background scorer: starts scores on the background loop, a few at a time, and hands them on.

The application's side is one `put` on a `SimpleQueue`: no system call, no lock that a slow part could hold.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.models import ScoreResult

__all__ = ["Job", "Worker"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One exchange to score: the parts of its input, still apart, and its output."""

    ticket: int
    llm_input: str
    parts: dict[str, Any]
    llm_output: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Done:
    job: Job
    future: Future[ScoreResult]


class Worker:
    """A daemon thread, started with the first job.

    Args:
        score: Makes the coroutine that scores a job; it runs on the LoopThread.
        finish: Called on this thread with a job and its finished future; must not raise.
        max_concurrency: Coroutines at a time.
    """

    def __init__(
        self,
        score: Callable[[Job], Coroutine[Any, Any, ScoreResult]],
        finish: Callable[[Job, Future[ScoreResult]], None],
        max_concurrency: int,
    ) -> None:
        self._score = score
        self._finish = finish
        self._max_concurrency = max_concurrency
        self._inbox: SimpleQueue[Job | _Done | None] = SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._in_flight: dict[int, Future[ScoreResult]] = {}
        self._starting = threading.Lock()
        self.thread: threading.Thread | None = None

    def put(self, job: Job) -> None:
        """Takes `job`, and returns at once."""
        if self.thread is None:
            self._start()
        self._inbox.put(job)

    def stop(self) -> None:
        """Cancels what is being scored and ends the thread; what still waits is forgotten."""
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
            while self._waiting and len(self._in_flight) < self._max_concurrency:
                self._begin(self._waiting.popleft())
        for future in self._in_flight.values():
            future.cancel()

    def _begin(self, job: Job) -> None:
        future = loop_thread().submit(self._score(job))
        self._in_flight[job.ticket] = future
        future.add_done_callback(lambda done: self._inbox.put(_Done(job, done)))
