"""The runs of an application that have begun and not ended: which belong to an answer that is being made."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.runnables.config import var_child_runnable_config

from pi_integrations.background.forks import reset_after_fork

__all__ = ["OpenRun", "OpenRuns"]

_REMEMBERED = 10_000


@dataclass(slots=True, eq=False)
class OpenRun:
    """A run whose answer will be scored.

    Attributes:
        run_id: LangChain's id of it.
        inputs: What it was given.
        name: What it is called.
        tags: Its tags.
        metadata: Its metadata, with the ids that scores carry.
        documents: What retrievers inside it found so far.
        response_id: Id of the last message that a model inside it wrote.
        has_steps: Whether anything ran inside it.
        is_interrupted: Whether a graph in it was interrupted.
        inner: The runs open inside it, itself included.
    """

    run_id: UUID
    inputs: Any
    name: str | None
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    documents: list[Any] = field(default_factory=list)
    response_id: str | None = None
    has_steps: bool = False
    is_interrupted: bool = False
    inner: set[UUID] = field(default_factory=set)


class OpenRuns:
    """Pairs the beginnings of runs with their ends; thread-safe, never larger than its limit, empty in a forked child.

    Args:
        limit: Answers being made at a time; one more, and the oldest is given up.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.start_over()
        reset_after_fork(self)

    def start_over(self) -> None:
        """Forgets every run."""
        # Reentrant: a garbage collection in here may close a stream, which ends a run.
        self._lock = threading.RLock()
        self._answers: OrderedDict[UUID, OpenRun] = OrderedDict()
        self._around: dict[UUID, OpenRun] = {}
        # Work that outlives its run still names it as parent; it is no answer of its own. True while the run is open.
        self._apart: OrderedDict[UUID, bool] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def join(self, run_id: UUID, parent_run_id: UUID | None) -> bool:
        """Whether the run belongs to one already known; it is then known too."""
        is_told = parent_run_id is not None
        if parent_run_id is None:
            # `with_fallbacks` starts the inner run without its parent, which only the context still knows.
            around = (var_child_runnable_config.get() or {}).get("callbacks")
            parent_run_id = getattr(around, "parent_run_id", None)
        if parent_run_id is None:
            return False
        with self._lock:
            run = self._around.get(parent_run_id)
            if run is not None:
                run.inner.add(run_id)
                run.has_steps = True
                self._around[run_id] = run
                return True
            # A task that a run left behind keeps the run's context: what it is given to do later is no part of it.
            if parent_run_id in self._apart if is_told else self._apart.get(parent_run_id, False):
                self._set_apart(run_id, is_open=True)
                return True
            return False

    def begin(self, run: OpenRun) -> OpenRun | None:
        """Opens `run`; returns the oldest one when there was no room, which will never end."""
        with self._lock:
            run.inner.add(run.run_id)
            self._around[run.run_id] = self._answers[run.run_id] = run
            if len(self._answers) <= self._limit:
                return None
            _, oldest = self._answers.popitem(last=False)
            self._forget(oldest)
            return oldest

    def set_apart(self, run_id: UUID) -> None:
        """Makes a run known that makes no answer, and with it all that happens inside."""
        with self._lock:
            self._set_apart(run_id, is_open=True)

    def around(self, run_id: UUID) -> OpenRun | None:
        """The open run that `run_id` is, or belongs to."""
        return self._around.get(run_id)

    def end(self, run_id: UUID) -> OpenRun | None:
        """Closes a run: it, when it was opened with `begin`; None for inner and unknown ones."""
        with self._lock:
            run = self._around.pop(run_id, None)
            if run is None:
                if run_id in self._apart:
                    self._apart[run_id] = False
                return None
            run.inner.discard(run_id)
            self._set_apart(run_id)
            if run.run_id != run_id:
                return None
            del self._answers[run_id]
            self._forget(run)
            return run

    def _forget(self, run: OpenRun) -> None:
        # A tool whose run was cancelled never says that it ended.
        for run_id in run.inner:
            self._around.pop(run_id, None)
            self._set_apart(run_id)
        run.inner.clear()

    def _set_apart(self, run_id: UUID, is_open: bool = False) -> None:
        self._apart[run_id] = is_open
        if len(self._apart) > _REMEMBERED:
            self._apart.popitem(last=False)
