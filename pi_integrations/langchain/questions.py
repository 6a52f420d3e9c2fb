"""What graphs that are interrupted were asked, until they answer it."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pi_integrations.background.forks import reset_after_fork
from pi_integrations.langchain.fields import opened
from pi_integrations.langchain.open_runs import OpenRun
from pi_integrations.langchain.run_answers import is_resumed

__all__ = ["Question", "Questions", "asked_of", "thread_of"]


@dataclass(slots=True, eq=False)
class Question:
    """What a run of a graph was given.

    Attributes:
        inputs: Captured until they are read.
        documents: What retrievers found for it so far.
        is_answered: Whether it has an answer; a graph that was interrupted then may give another.
        is_doubtful: Whether there was another one of its thread when it came: it may be another graph's.
        number: Later ones have higher ones.
    """

    inputs: Any
    documents: list[Any]
    is_answered: bool = False
    is_doubtful: bool = False
    number: int = field(default_factory=itertools.count().__next__)


class Questions:
    """Remembers of each thread of a graph that may go on what it was asked.

    A question is met when its run ends, on the application's time, so that the run that goes on finds it whatever was
    read until then.

    Thread-safe, never larger than its limit, empty in a forked child.

    Args:
        limit: Questions to remember; one more, and the oldest is forgotten.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.start_over()
        reset_after_fork(self)

    def start_over(self) -> None:
        """Forgets every question."""
        # Reentrant: a garbage collection in here may close a stream, which ends a run.
        self._lock = threading.RLock()
        self._open: OrderedDict[str, Question] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def meet(self, run: OpenRun, *, is_open: bool) -> None:
        """Says in `run`, which ended, what it was asked: itself, or its graph before.

        Args:
            run: One of a thread.
            is_open: Whether its graph may go on and answer.
        """
        thread = thread_of(run)
        if is_resumed(run.inputs.kept):
            run.question = question = self._open.get(thread)
            if question is not None:
                run.recalled = len(question.documents)
                question.documents = run.documents = [*question.documents, *run.documents]
        else:
            run.question = question = Question(run.inputs, run.documents)
        if question is not None and is_open:
            self.keep(thread, question)
        elif question is not None and not question.is_doubtful:  # else known when the outputs were read
            self.forget(thread, question)

    def keep(self, thread: str, question: Question) -> None:
        """Remembers `question`, unless a later one is there."""
        with self._lock:
            before = self._open.get(thread)
            if before is not None and before.number >= question.number:
                return
            question.is_doubtful = before is not None
            self._open[thread] = question
            self._open.move_to_end(thread)
            if len(self._open) > self._limit:
                self._open.popitem(last=False)

    def forget(self, thread: str, question: Question) -> None:
        """Nothing goes on for `question`, or for earlier ones of its thread."""
        with self._lock:
            kept = self._open.get(thread)
            if kept is not None and kept.number <= question.number:
                del self._open[thread]


def asked_of(run: OpenRun, outputs: Any) -> tuple[Any, list[Any]]:
    """What `run` was asked, and what retrievers found for it, now that its outputs are known."""
    question, given = run.question, run.inputs.read()
    if question is None:
        return given, run.documents[run.recalled :]
    inputs = question.inputs.read()
    held = _held(inputs, outputs) if question.is_doubtful and is_resumed(given) else None
    if held is None:
        return inputs, run.documents
    run.question = None
    return held, run.documents[run.recalled :]


def _held(inputs: Any, outputs: Any) -> Mapping[str, Any] | None:
    """What a state that has all texts of `inputs` holds in their place; None where that is the same, or unknown."""
    inputs = opened(inputs, None, is_state=True)
    if not isinstance(inputs, Mapping) or not isinstance(outputs, Mapping):
        return None
    texts = {name: text for name, text in inputs.items() if isinstance(text, str)}
    if not texts or not texts.keys() <= outputs.keys() or all(outputs[name] == texts[name] for name in texts):
        return None
    return {name: outputs[name] for name in inputs if name in outputs}


def thread_of(run: OpenRun) -> str:
    """What the graph of a run with a `thread_id` goes by."""
    # Strings and numbers alone: ten thousand tuples would be work for the garbage collector.
    return f"{run.metadata['thread_id']} {run.name}"
