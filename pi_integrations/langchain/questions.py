"""What graphs that are interrupted were asked, until they answer it."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pi_integrations.background.process import reset_after_fork
from pi_integrations.langchain.fields import INPUT_NAMES, opened
from pi_integrations.langchain.open_runs import OpenRun
from pi_integrations.langchain.run_answers import is_resumed

__all__ = ["Question", "Questions", "asked_of", "texts_held", "thread_of"]


@dataclass(slots=True, eq=False)
class Question:
    """What a run of a graph was given.

    Attributes:
        inputs: Captured until they are read.
        documents: What retrievers found for it so far.
        answered: What the state held in place of its texts when it was answered, and how many documents were found by
            then; None before. A graph that was interrupted then may give another answer, or be asked something else.
        number: Later ones have higher ones.
    """

    inputs: Any
    documents: list[Any]
    answered: tuple[Mapping[str, str], int] | None = None
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
                question.documents = run.documents = [*question.documents, *run.documents]
        else:
            run.question = question = Question(run.inputs, run.documents)
        if question is not None and is_open:
            self.keep(thread, question)
        elif question is not None:
            self.forget(thread, question)

    def keep(self, thread: str, question: Question) -> None:
        """Remembers `question`, unless a later one is there."""
        with self._lock:
            before = self._open.get(thread)
            if before is not None and before.number >= question.number:
                return
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
        return given, run.documents
    if question.answered is not None and is_resumed(given):
        before, found = question.answered
        if before != texts_held(question, outputs):  # the state says that it is another one by now, and which
            return given, run.documents[found:]
    return question.inputs.read(), run.documents


def texts_held(question: Question, outputs: Any) -> Mapping[str, str]:
    """The texts of a state that have the names of those in the inputs."""
    inputs = opened(question.inputs.read(), None, is_state=True)
    if not isinstance(inputs, Mapping) or not isinstance(outputs, Mapping):
        return {}
    names = [name for name, text in inputs.items() if isinstance(text, str) and name in INPUT_NAMES]
    return {name: outputs[name] for name in names if isinstance(outputs.get(name), str)}


def thread_of(run: OpenRun) -> str:
    """What the graph of a run with a `thread_id` goes by."""
    # Strings and numbers alone: ten thousand tuples would be work for the garbage collector.
    return f"{run.metadata['thread_id']} {run.name}"
