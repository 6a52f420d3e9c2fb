"""The runs of an application that have begun and not ended: which belong to an answer that is being made.

This happens on the application's own time, many times in every run, each time after the framework has had the
processor's caches to itself. So ids go by their numbers, for hashing a `UUID` is a call of Python code; two dicts hold
everything; every step in them is a single operation, so that no lock is needed; and tidying up is left for later.
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

_REMEMBERED = 10_000


@dataclass(slots=True, eq=False)
class OpenRun:
    """A run whose answer will be scored.

    Attributes:
        run_id: LangChain's id of it.
        inputs: What it was given; captured.
        name: What it is called.
        tags: Its tags.
        metadata: Its metadata.
        trace_id: The trace it belongs to, where it is known.
        documents: What retrievers inside it found so far, and before it for the same question.
        pending: The `PendingInput` it answers, if its graph has a thread.
        reading: What was read of it already.
        response: What the last model inside it gave.
        retrieving: The retrievers inside it that have not ended, and what runs inside those; whether each is a
            retriever inside no other.
        has_steps: Whether anything ran inside it.
        is_interrupted: Whether a graph in it was interrupted.
        is_open: Whether it has not ended.
        number: What it goes by here.
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


# What belongs to no answer. Work that outlives its run still names it as parent, and is no answer of its own.
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
        if len(self._ended) > self._untidy:  # nothing has ended for long
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
        # A task that a run left behind keeps the run's context: what it is given to do later is no part of it.
        around = self._known.get(_number(parent_run_id))
        return around is not None and (around.is_open or around is _APART) and self.join(run_id, parent_run_id)

    def begin(self, run: OpenRun) -> OpenRun | None:
        """Opens `run`, once; returns the oldest one when there was no room, which will never end."""
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
        """Counts a run among those that began."""
        with self._lock:
            self.begun += 1

    def set_apart(self, run_id: UUID) -> None:
        """Makes a run known that makes no answer, and with it all that happens inside."""
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
        """The run that `run_id` is, or belongs to, until now: open no more when it was that run that ended."""
        try:
            number = run_id.int
        except AttributeError:
            number = _number(run_id)
        run = self._known.get(number)
        if run is None:
            return None
        # In this order: what is begun inside it meanwhile, in another thread, finds it in one of the two.
        self._ended[number] = None
        self._known.pop(number, None)
        if run.retrieving:
            run.retrieving.pop(number, None)
        if not run.is_open:
            return None
        if run.number == number:
            # Of two that end it at the same time, one takes it out.
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
        """`run` was dealt with: a tool whose run was cancelled never says that it ended, and still refers to it."""
        run.inputs = run.response = run.pending = run.reading = None
        run.documents, run.retrieving = [], {}
        if len(self._ended) > _REMEMBERED + _REMEMBERED // 2:
            self._tidy()

    def _tidy(self) -> None:
        """Forgets what ended long ago, and runs of answers that have ended which never said that they did."""
        # Copies are made in one go, whatever other threads do: no code of Python's runs in between.
        for number in list(self._ended)[:-_REMEMBERED]:
            self._ended.pop(number, None)
        stale = [number for number, run in self._known.copy().items() if not run.is_open]
        for number in stale[:-_REMEMBERED]:
            self._known.pop(number, None)
        self._untidy = len(self._ended) + _REMEMBERED
        self._crowded = len(self._known) + _REMEMBERED
