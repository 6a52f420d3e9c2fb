"""The runs of an application that have started and not ended, and the answer in progress that each belongs to.

This code runs on the application's own time, many times in every run, each time after the framework has filled the
processor's caches. So ids are used as integers, because hashing a `UUID` calls Python code; two dicts hold everything;
every step in them is a single operation, so that no lock is needed; and clean-up is left for later.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config

from pi_integrations.background.process import reset_after_fork

__all__ = ["OpenRun", "OpenRuns"]

# Ended runs to remember, for work that outlives its run and still names it as parent.
_REMEMBERED = 10_000


@dataclass(slots=True, eq=False)
class OpenRun:
    """A run whose answer will be scored.

    Attributes:
        run_id: LangChain's id of it.
        inputs: Its inputs, as a `Captured`.
        name: Its name.
        tags: Its tags.
        metadata: Its metadata.
        trace_id: The trace it belongs to, where it is known.
        documents: Documents that retrievers found so far, inside it or earlier for the same question.
        pending: The `PendingInput` it answers, if its graph has a thread.
        reading: Its `Reading`, if it was read already.
        response: The response of the last model inside it.
        retrieving: The retrievers inside it that have not ended, and the runs inside those; the value says whether the
            run is an outermost retriever.
        has_steps: Whether anything ran inside it.
        is_interrupted: Whether a graph in it was interrupted.
        is_open: Whether it has not ended.
        number: Its key in the dicts here.
    """

    run_id: UUID
    inputs: Any
    name: str | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    trace_id: UUID | None = None
    documents: list[Any] = field(default_factory=list)
    pending: Any = None
    reading: Any = None
    response: Any = None
    retrieving: dict[Any, bool] = field(default_factory=dict)
    has_steps: bool = False
    is_interrupted: bool = False
    is_open: bool = True
    number: Any = None


# Stands for all runs that belong to no answer. Work that outlives its run still names it as parent, and is no answer of
# its own.
_APART: Final = OpenRun(UUID(int=0), None, is_open=False)


def _number(run_id: Any) -> Any:
    """A key that hashes fast; LangChain also takes ids that are no UUIDs."""
    return getattr(run_id, "int", run_id)


class OpenRuns:
    """Pairs the beginnings of runs with their ends; thread-safe, never larger than its limits, empty in a forked child.

    Attributes:
        begun: Runs that `begin` opened so far, and others that were counted.

    Args:
        limit: Answers being made at a time; one more, and the oldest is given up.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.start_over()
        reset_after_fork(self)

    def start_over(self) -> None:
        """Forgets every run."""
        self.begun = 0
        # Reentrant: a garbage collection in here may close a stream, which ends a run.
        self._lock = threading.RLock()
        self._answers: OrderedDict[Any, OpenRun] = OrderedDict()
        self._known: dict[Any, OpenRun] = {}
        self._ended: dict[Any, None] = {}
        self._untidy = self._crowded = 2 * _REMEMBERED

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def remembered(self) -> int:
        """Runs that are known: those in open answers, and others, whose number is kept in bounds."""
        return len(self._known) + len(self._ended)

    def join(self, run_id: UUID, parent_run_id: UUID | None) -> bool:
        """Whether the run belongs to one already known; it is then known too."""
        if parent_run_id is None:
            config = var_child_runnable_config.get()
            return config is not None and self._join_context(run_id, config)
        try:
            parent, number = parent_run_id.int, run_id.int
        except AttributeError:
            parent, number = _number(parent_run_id), _number(run_id)
        around = self._known.get(parent)
        if around is None and parent not in self._ended:
            return False
        if around is not None and around.is_open:
            around.has_steps = True
            self._known[number] = around
            if around.retrieving and parent in around.retrieving:
                around.retrieving[number] = False
        else:
            self._set_apart(number)
        if len(self._ended) > self._untidy:  # no answer has ended for a long time
            self._tidy()
        return True

    def join_retriever(self, run_id: UUID, parent_run_id: UUID | None) -> bool:
        """`join`, for a retriever."""
        is_known = self.join(run_id, parent_run_id)
        around = self.around(run_id) if is_known else None
        if around is not None:
            around.retrieving.setdefault(_number(run_id), True)
        return is_known

    def _join_context(self, run_id: UUID, config: RunnableConfig) -> bool:
        """`with_fallbacks` starts the inner run without its parent, which only the context still knows."""
        parent_run_id = getattr(config.get("callbacks"), "parent_run_id", None)
        if parent_run_id is None:
            return False
        # A task that outlives a run has the run's context still; work given to it later is not part of that run.
        around = self._known.get(_number(parent_run_id))
        return around is not None and (around.is_open or around is _APART) and self.join(run_id, parent_run_id)

    def begin(self, run: OpenRun) -> OpenRun | None:
        """Opens `run`, once. When there is no room, returns the oldest open run, which is dropped and never ends."""
        run.number = number = _number(run.run_id)
        if number in self._answers:
            return None
        self._known[number] = self._answers[number] = run
        with self._lock:
            self.begun += 1
        if len(self._answers) <= self._limit:
            return None
        number, oldest = self._answers.popitem(last=False)
        oldest.is_open = False
        self._ended[number] = None
        self._known.pop(number, None)
        return oldest

    def count(self) -> None:
        """Counts one more run as started."""
        with self._lock:
            self.begun += 1

    def set_apart(self, run_id: UUID) -> None:
        """Registers a run that produces no answer; the runs inside it belong to no answer either."""
        self._set_apart(_number(run_id))

    def _set_apart(self, number: Any) -> None:
        self._known[number] = _APART
        if len(self._known) > self._crowded:  # some, such as cancelled tools, never end
            self._tidy()

    def around(self, run_id: UUID) -> OpenRun | None:
        """The open run that `run_id` is, or belongs to."""
        run = self._known.get(_number(run_id))
        return run if run is not None and run.is_open else None

    def end(self, run_id: UUID) -> OpenRun | None:
        """Ends `run_id`; returns the open run that it was or belonged to, which is closed if it was that run."""
        try:
            number = run_id.int
        except AttributeError:
            number = _number(run_id)
        run = self._known.get(number)
        if run is None:
            return None
        # In this order: a run started inside it meanwhile, in another thread, finds it in one of the two dicts.
        self._ended[number] = None
        self._known.pop(number, None)
        if run.retrieving:
            run.retrieving.pop(number, None)
        if not run.is_open:
            return None
        if run.number == number:
            # When two threads end it at the same time, only one of them removes it.
            if self._answers.pop(number, None) is None:
                return None
            run.is_open = False
        return run

    def end_retriever(self, run_id: UUID) -> OpenRun | None:
        """`end`, of a retriever; None for one inside another."""
        around = self.around(run_id)
        is_outermost = around is not None and around.retrieving.get(_number(run_id), True)
        run = self.end(run_id)
        return run if is_outermost else None

    def let_go(self, run: OpenRun) -> None:
        """Frees the data of `run`, which was handled: a cancelled tool never reports its end and still refers to it."""
        run.inputs = run.response = run.pending = run.reading = None
        run.documents, run.retrieving = [], {}
        if len(self._ended) > _REMEMBERED + _REMEMBERED // 2:
            self._tidy()

    def _tidy(self) -> None:
        """Forgets runs that ended long ago, and runs inside ended answers whose own end was never reported."""
        # Each copy is one atomic step, whatever other threads do: no Python code runs during it.
        for number in list(self._ended)[:-_REMEMBERED]:
            self._ended.pop(number, None)
        stale = [number for number, run in self._known.copy().items() if not run.is_open]
        for number in stale[:-_REMEMBERED]:
            self._known.pop(number, None)
        self._untidy = len(self._ended) + _REMEMBERED
        self._crowded = len(self._known) + _REMEMBERED
