"""Answers of graphs that are interrupted and resumed: each once, and with what was asked."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from pi_integrations.background.forks import reset_after_fork
from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.langchain.open_runs import OpenRun
from pi_integrations.langchain.run_answers import is_resumed, last_message, read_answer

__all__ = ["Conversations"]


class Conversations:
    """Remembers of each thread of a graph its last answer, without the text, or what it was asked and has not answered.

    What is given to a graph, or a chain, and runs to its end is an answer, whatever was answered before. A run that is
    interrupted may show the answer to an earlier question, and one that goes on an answer given before the interrupt.

    Thread-safe, never larger than its limits, empty in a forked child.

    Args:
        limit: Answers to remember; one more, and the oldest is forgotten.
        open_limit: Questions to remember.
    """

    def __init__(self, limit: int = 10_000, open_limit: int = 1_000) -> None:
        self._limit, self._open_limit = limit, open_limit
        self.start_over()
        reset_after_fork(self)

    def start_over(self) -> None:
        """Forgets every conversation."""
        # Reentrant: a garbage collection in here may close a stream, which ends a run.
        self._lock = threading.RLock()
        self._answered: OrderedDict[str, int] = OrderedDict()
        self._asked: OrderedDict[str, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answered) + len(self._asked)

    def new_answer(self, reader: ExchangeReader, run: OpenRun, outputs: Any) -> dict[str, Any] | None:
        """What `read_answer` reads from a run that ended; None also when that was an answer before.

        Raises:
            PiUsageError: when it is not clear what to score.
        """
        thread = _thread(run)
        if thread is None:
            return read_answer(reader, run.inputs, outputs, run.documents)
        if run.is_interrupted:
            return self._interrupted(thread, reader, run, outputs)
        with self._lock:
            asked = self._asked.pop(thread, None)
        inputs = asked if is_resumed(run.inputs) and asked is not None else run.inputs
        exchange = read_answer(reader, inputs, outputs, run.documents)
        if exchange is None:
            self.ask(run)  # a version of LangGraph that tells of no interrupts
            return None
        is_other = self._is_other(thread, outputs, exchange["llm_output"])
        return exchange if asked is not None or not is_resumed(run.inputs) or (is_other and run.has_steps) else None

    def ask(self, run: OpenRun) -> None:
        """Remembers what a run was given that did not come to its end: the graph may go on and answer it."""
        thread = _thread(run)
        if thread is not None and not is_resumed(run.inputs):
            self._keep(self._asked, thread, run.inputs, self._open_limit)

    def _interrupted(self, thread: str, reader: ExchangeReader, run: OpenRun, outputs: Any) -> dict[str, Any] | None:
        self.ask(run)
        try:
            exchange = read_answer(reader, self._asked.get(thread, run.inputs), outputs, run.documents)
        except PiUsageError:  # half a state; what it ends in will be read, or say the same
            return None
        if exchange is None or not self._is_other(thread, outputs, exchange["llm_output"]):
            return None
        with self._lock:
            self._asked.pop(thread, None)
        return exchange

    def _is_other(self, thread: str, outputs: Any, text: str) -> bool:
        """Whether it is not the thread's last answer, whose place it takes."""
        answer = hash((getattr(last_message(outputs), "id", None), text))
        return bool(self._keep(self._answered, thread, answer, self._limit) != answer)

    def _keep(self, kept: OrderedDict[str, Any], thread: str, value: Any, limit: int) -> Any:
        with self._lock:
            before = kept.pop(thread, None)
            kept[thread] = value
            if len(kept) > limit:
                kept.popitem(last=False)
            return before


def _thread(run: OpenRun) -> str | None:
    """What the run's graph goes by; None for what cannot be interrupted."""
    thread_id = run.metadata.get("thread_id")  # of every graph that can be interrupted
    # Strings and numbers alone: ten thousand tuples would be work for the garbage collector.
    return None if thread_id is None else f"{thread_id} {run.name}"
