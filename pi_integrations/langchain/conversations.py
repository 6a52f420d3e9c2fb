"""Answers of graphs that are interrupted and resumed: each once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from pi_integrations.background.process import reset_after_fork
from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.open_runs import OpenRun
from pi_integrations.langchain.reading import Reading
from pi_integrations.langchain.resumed import PendingInputs, thread_of
from pi_integrations.langchain.run_answers import is_resumed

__all__ = ["Conversations"]


class Conversations:
    """Remembers of each thread of a graph its last answer, without the text, or what it was asked while it may go on.

    What is given to a graph, or a chain, and runs to its end is an answer, whatever was answered before. A run that is
    interrupted may show the answer to an earlier question, and one that goes on an answer given before the interrupt.

    Thread-safe, never larger than its limits, empty in a forked child.

    Args:
        limit: Answers to remember; one more, and the oldest is forgotten.
        open_limit: Inputs of interrupted graphs to remember.
    """

    def __init__(self, limit: int = 10_000, open_limit: int = 1_000) -> None:
        self._limit = limit
        self._pending = PendingInputs(open_limit)
        self.start_over()
        reset_after_fork(self)

    def start_over(self) -> None:
        """Forgets every answer."""
        # Reentrant: a garbage collection in here may close a stream, which ends a run.
        self._lock = threading.RLock()
        self._answered: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answered) + len(self._pending)

    def attach(self, run: OpenRun, *, failed: bool = False) -> None:
        """Attaches to `run`, when it ends, the inputs it answers; to be called in the order in which runs end."""
        if "thread_id" in run.metadata:  # as every graph that can be interrupted has
            self._pending.attach(run, is_open=failed or run.is_interrupted)

    def new_answer(self, run: OpenRun, reading: Reading) -> dict[str, Any] | None:
        """What was read from a run that ended; None also when that was an answer before.

        Raises:
            PiUsageError: when it is not clear what to score; whatever else reading raised.
        """
        if run.is_interrupted and isinstance(reading.error, PiUsageError):
            return None  # half a state; what it ends in will be read, or say the same
        if "thread_id" not in run.metadata:
            return _exchange(reading)
        thread = thread_of(run)
        return self._interrupted(thread, run, reading) if run.is_interrupted else self._ended(thread, run, reading)

    def _ended(self, thread: str, run: OpenRun, reading: Reading) -> dict[str, Any] | None:
        pending, went_on = run.pending, is_resumed(run.inputs.read())
        if reading.exchange is None and reading.error is None and not went_on:
            self._pending.keep(thread, pending)  # a version of LangGraph that tells of no interrupts
            return None
        exchange = _exchange(reading)
        if exchange is None:
            return None
        is_new = not went_on or (pending is not None and pending.answered is None)
        _answer(run, reading)
        is_other = self._is_other(thread, reading)
        return exchange if is_new or (is_other and run.has_steps) else None

    def _interrupted(self, thread: str, run: OpenRun, reading: Reading) -> dict[str, Any] | None:
        exchange = _exchange(reading)
        if exchange is None or not self._is_other(thread, reading):
            return None
        _answer(run, reading)
        return exchange

    def _is_other(self, thread: str, reading: Reading) -> bool:
        """Whether it is not the thread's last answer, whose place it takes."""
        assert reading.exchange is not None
        answer = hash((reading.message_id, reading.exchange["llm_output"]))
        with self._lock:
            before = self._answered.pop(thread, None)
            self._answered[thread] = answer
            if len(self._answered) > self._limit:
                self._answered.popitem(last=False)
        return before != answer


def _answer(run: OpenRun, reading: Reading) -> None:
    if run.pending is not None:
        run.pending.answered = reading.held, len(run.documents)


def _exchange(reading: Reading) -> dict[str, Any] | None:
    if reading.error is not None:
        raise reading.error
    return reading.exchange
