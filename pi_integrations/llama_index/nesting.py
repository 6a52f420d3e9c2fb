"""Separates answers that a user sees from answers made on the way to them, such as queries of an agent's tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from llama_index.core.agent.workflow.workflow_events import ToolCallResult

__all__ = ["Instructions", "Nesting", "OpenAnswer", "awithin", "lacks_history", "within"]

T = TypeVar("T")
Instructions: TypeAlias = str | dict[str, str | None] | None


@dataclass(eq=False, slots=True)
class OpenAnswer:
    """An answer being made: to a query, in a chat, or by an agent or workflow.

    Attributes:
        key: Identifies it to `Nesting.leave`.
        question: The user's question; None when it is not known.
        name: Class of the engine, agent or workflow.
        tags: The tags that `instrument_tags` attached.
        history: Earlier turns as `(role, text)`; None while they are not known.
        likely_history: Probable earlier turns, used as long as `history` is not known.
        system_prompt: The agent's standing instructions; of several agents each one's, by name.
        agent: Which agent answered, where one did.
        is_run: Whether it is a run of an agent or workflow.
        tools: Results of the agent's tools so far.
        owner: The nesting it is open in.
        around: The answer that encloses it.
        finished: Whether it has ended.
    """

    key: str | None
    question: str | None
    name: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[tuple[str, str]] | None = ()
    likely_history: Sequence[tuple[str, str]] = ()
    system_prompt: Instructions = None
    is_run: bool = False
    agent: str | None = None
    tools: list[ToolCallResult] = field(default_factory=list)
    owner: Nesting | None = None
    around: OpenAnswer | None = None
    finished: bool = False

    @property
    def instructions(self) -> str | None:
        """The system prompt of the agent that answered."""
        prompt = self.system_prompt
        return prompt.get(self.agent or "") if isinstance(prompt, dict) else prompt


# One variable for all handlers: a context never releases a variable that was set in it.
_innermost: ContextVar[OpenAnswer | None] = ContextVar("pi_open_answer", default=None)


def lacks_history() -> bool:
    """Whether the earlier turns of an answer begun around this point are not known yet."""
    answer = _innermost.get()
    while answer is not None and answer.history is not None:
        answer = answer.around
    return answer is not None


def within(answers: Sequence[OpenAnswer], step: Callable[[], T]) -> T:
    """The result of `step`; answers that begin in it are inside `answers`."""
    token = _inside(answers)
    try:
        return step()
    finally:
        _outside(token)


async def awithin(answers: Sequence[OpenAnswer], step: Callable[[], Awaitable[T]]) -> T:
    """`within` for a step that is awaited."""
    token = _inside(answers)
    try:
        return await step()
    finally:
        _outside(token)


def _inside(answers: Sequence[OpenAnswer]) -> Token[OpenAnswer | None]:
    innermost = _innermost.get()
    for answer in answers:
        if answer not in _outward(innermost):  # a circle would have no end
            answer.around = innermost
        innermost = answer
    return _innermost.set(innermost)


def _outside(token: Token[OpenAnswer | None]) -> None:
    with suppress(ValueError):  # collected in another context than it was left in
        _innermost.reset(token)


def _outward(answer: OpenAnswer | None) -> Iterator[OpenAnswer]:
    while answer is not None:
        yield answer
        answer = answer.around


class Nesting:
    """The answers that one handler saw begin in the current thread or task.

    Context variables are inherited by tasks, and by the threads LlamaIndex starts, so that an answer begun there is
    known to be inside. A task may outlive the answer that started it; a finished answer encloses nothing.
    """

    __slots__ = ("closed",)

    def __init__(self) -> None:
        self.closed = False

    def enter(self, answer: OpenAnswer) -> None:
        """`answer` begins."""
        answer.owner = self
        around = _innermost.get()
        answer.around = None if around is None else _open(around)
        _innermost.set(answer)

    def leave(self, key: str | None) -> OpenAnswer | None:
        """Ends the answer with `key`, and the answers open inside it.

        Returns it if no answer encloses it; None for an inner one, or for one that never began.
        """
        innermost = _innermost.get()
        if innermost is not None and innermost.key == key and innermost.around is None and self._has(innermost):
            innermost.finished = True
            _innermost.set(None)
            return innermost
        passed: list[OpenAnswer] = []
        for answer in self._own(innermost):
            passed.append(answer)
            if answer.key == key:
                break
        else:
            return None
        for inner in passed:
            inner.finished = True
        _innermost.set(_open(innermost))
        return answer if next(self._own(answer.around), None) is None else None

    def begun(self) -> Iterator[OpenAnswer]:
        """The answers begun around this point, innermost first.

        Answers that have ended are included: LlamaIndex calls the model of an asynchronous stream after the chat call
        that returned it is over.
        """
        return (answer for answer in _outward(_innermost.get()) if answer.owner is self)

    def run(self) -> OpenAnswer | None:
        """The innermost run of an agent or workflow around this point."""
        answer = _innermost.get()
        while answer is not None and not (answer.is_run and answer.owner is self):
            answer = answer.around
        return answer

    def write(self, key: str) -> None:
        """Marks work on an answer whose call is over, in a thread or task that was started inside it."""
        _innermost.set(OpenAnswer(key, None, owner=self, around=_innermost.get()))

    def written(self, key: str) -> None:
        """Ends it."""
        for answer in self.begun():
            if answer.key == key:
                answer.finished = True

    def close(self) -> None:
        """Forgets all open answers."""
        self.closed = True

    def _has(self, answer: OpenAnswer) -> bool:
        return answer.owner is self and not answer.finished and not self.closed

    def _own(self, answer: OpenAnswer | None) -> Iterator[OpenAnswer]:
        while (answer := _open(answer)) is not None:
            if answer.owner is self:
                yield answer
            answer = answer.around


def _open(answer: OpenAnswer | None) -> OpenAnswer | None:
    while answer is not None and (answer.finished or answer.owner is None or answer.owner.closed):
        answer = answer.around
    return answer
