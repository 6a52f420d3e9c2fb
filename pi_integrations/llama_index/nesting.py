"""Tells a user's query from the queries that answering it makes, such as those of a sub-question engine."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Generic, TypeVar

__all__ = ["Nesting", "OpenQuery"]

T = TypeVar("T")


class OpenQuery(Generic[T]):
    """A query that has begun, and the one around it."""

    __slots__ = ("around", "finished", "key", "question")

    def __init__(self, key: str | None, question: T, around: OpenQuery[T] | None) -> None:
        self.key = key
        self.question = question
        self.around = around
        self.finished = False


class Nesting(Generic[T]):
    """The queries open in the current thread or task.

    Context variables are inherited by tasks, and by the threads LlamaIndex starts, so that a query begun there is known
    to be inside. A task may outlive the query that started it; what is finished encloses nothing.
    """

    def __init__(self) -> None:
        self._innermost: ContextVar[OpenQuery[T] | None] = ContextVar("pi_open_query", default=None)

    def enter(self, key: str | None, question: T) -> None:
        """A query begins; `key` identifies it for `abandon`."""
        self._innermost.set(OpenQuery(key, question, _unfinished(self._innermost.get())))

    def leave(self) -> OpenQuery[T] | None:
        """The innermost query ends: it, when nothing is around it; None for an inner one, or one that never began."""
        query = self._innermost.get()
        if query is None:
            return None
        query.finished = True
        around = _unfinished(query.around)
        self._innermost.set(around)
        return query if around is None else None

    def abandon(self, key: str | None) -> None:
        """The query with `key`, if it is open, ends without an answer, and so does everything inside it."""
        passed = []
        query = self._innermost.get()
        while query is not None:
            passed.append(query)
            if query.key == key:
                break
            query = query.around
        else:
            return
        for inner in passed:
            inner.finished = True
        self._innermost.set(_unfinished(query.around))


def _unfinished(query: OpenQuery[T] | None) -> OpenQuery[T] | None:
    while query is not None and query.finished:
        query = query.around
    return query
