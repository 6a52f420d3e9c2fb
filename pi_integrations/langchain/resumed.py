"""The inputs of graphs that were interrupted, until the graphs answer them."""

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

__all__ = ["PendingInput", "PendingInputs", "asked_of", "texts_held", "thread_of"]


@dataclass(slots=True, eq=False)
class PendingInput:
    """The inputs of a run of a graph.

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


class PendingInputs:
    """Remembers the inputs of each thread of a graph that may be resumed.

    They are attached to a run when it ends, on the application's time, so that the run that resumes it finds them
    whatever was read until then.

    Thread-safe, never larger than its limit, empty in a forked child.

    Args:
        limit: Inputs to remember; one more, and the oldest is forgotten.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.start_over()
        reset_after_fork(self)

    def start_over(self) -> None:
        """Forgets all inputs."""
        # Reentrant: a garbage collection in here may close a stream, which ends a run.
        self._lock = threading.RLock()
        self._open: OrderedDict[str, PendingInput] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def attach(self, run: OpenRun, *, is_open: bool) -> None:
        """Attaches to `run`, which ended, the inputs it answers: its own, or those of the run it resumed.

        Args:
            run: One of a thread.
            is_open: Whether its graph may go on and answer.
        """
        thread = thread_of(run)
        if is_resumed(run.inputs.kept):
            run.pending = pending = self._open.get(thread)
            if pending is not None:
                pending.documents = run.documents = [*pending.documents, *run.documents]
        else:
            run.pending = pending = PendingInput(run.inputs, run.documents)
        if pending is not None and is_open:
            self.keep(thread, pending)
        elif pending is not None:
            self.forget(thread, pending)

    def keep(self, thread: str, pending: PendingInput) -> None:
        """Remembers `pending`, unless the thread has later inputs."""
        with self._lock:
            before = self._open.get(thread)
            if before is not None and before.number >= pending.number:
                return
            self._open[thread] = pending
            self._open.move_to_end(thread)
            if len(self._open) > self._limit:
                self._open.popitem(last=False)

    def forget(self, thread: str, pending: PendingInput) -> None:
        """Forgets `pending` and earlier inputs of its thread."""
        with self._lock:
            kept = self._open.get(thread)
            if kept is not None and kept.number <= pending.number:
                del self._open[thread]


def asked_of(run: OpenRun, outputs: Any) -> tuple[Any, list[Any]]:
    """What `run` was asked, and what retrievers found for it, now that its outputs are known."""
    pending, given = run.pending, run.inputs.read()
    if pending is None:
        return given, run.documents
    if pending.answered is not None and is_resumed(given):
        before, found = pending.answered
        if before != texts_held(pending, outputs):  # the state says that it is another one by now, and which
            return given, run.documents[found:]
    return pending.inputs.read(), run.documents


def texts_held(pending: PendingInput, outputs: Any) -> Mapping[str, str]:
    """The texts of a state that have the names of those in the inputs."""
    inputs = opened(pending.inputs.read(), None, is_state=True)
    if not isinstance(inputs, Mapping) or not isinstance(outputs, Mapping):
        return {}
    names = [name for name, text in inputs.items() if isinstance(text, str) and name in INPUT_NAMES]
    return {name: outputs[name] for name in names if isinstance(outputs.get(name), str)}


def thread_of(run: OpenRun) -> str:
    """What the graph of a run with a `thread_id` goes by."""
    # Strings and numbers alone: ten thousand tuples would be work for the garbage collector.
    return f"{run.metadata['thread_id']} {run.name}"
