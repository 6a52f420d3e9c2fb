"""Answers of graphs that are interrupted and resumed: each once, and with what was asked."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from pi_integrations.background.forks import reset_after_fork
from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.langchain.open_runs import OpenRun
from pi_integrations.langchain.run_answers import is_resumed, is_state, last_message, read_answer

__all__ = ["Conversations"]


class Conversations:
    """Remembers of each thread of a graph its last answer, without the text, or what it was asked and has not answered.

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
        thread_id = run.metadata.get("thread_id")  # of every graph that can be interrupted
        if thread_id is None:
            return read_answer(reader, run.inputs, outputs, run.documents)
        # Strings and numbers alone: ten thousand tuples would be work for the garbage collector.
        thread = f"{thread_id} {run.name}"
        asked = self._asked.get(thread) if is_resumed(run.inputs) else run.inputs
        exchange = read_answer(reader, run.inputs if asked is None else asked, outputs, run.documents)
        may_repeat = asked is not None and run.has_written and not is_state(outputs)
        if exchange is not None and self._is_new(thread, outputs, exchange["llm_output"], may_repeat):
            return exchange
        if asked is not None and last_message(outputs) is None:
            self._keep(self._asked, thread, asked, self._open_limit)
        return None

    def _is_new(self, thread: str, outputs: Any, text: str, may_repeat: bool) -> bool:
        """Whether it is not the thread's last answer: given before an interrupt, or to an earlier question."""
        answer = hash((getattr(last_message(outputs), "id", None), text))
        is_new = self._keep(self._answered, thread, answer, self._limit) != answer or may_repeat
        if is_new:
            self._asked.pop(thread, None)
        return is_new

    def _keep(self, kept: OrderedDict[str, Any], thread: str, value: Any, limit: int) -> Any:
        with self._lock:
            before = kept.pop(thread, None)
            kept[thread] = value
            if len(kept) > limit:
                kept.popitem(last=False)
            return before
