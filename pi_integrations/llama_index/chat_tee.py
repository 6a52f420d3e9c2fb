"""A copy of a streamed chat answer, taken while the user reads it.

LlamaIndex's own thread or task reads the model and writes the conversation's memory, whether the user reads or not.
What the user reads comes through properties of the response's class, so the response is given a class with the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from functools import cache
from typing import Any

from llama_index.core.chat_engine.types import StreamingAgentChatResponse

from pi_integrations.llama_index.tee import AsyncReading, Copy, Finish, Reading

__all__ = ["tee_chat"]

_COPIES = "_pi_copies"


class _Watched(StreamingAgentChatResponse):
    """A chat answer that says when it was read to its end, by one of its generators or by several."""

    @property
    def response_gen(self) -> Generator[str, None, None]:
        return Reading(super().response_gen, self.__dict__.get(_COPIES, ()))

    def async_response_gen(self) -> AsyncGenerator[str, None]:
        return AsyncReading(super().async_response_gen(), self.__dict__.get(_COPIES, ()))

    def __str__(self) -> str:
        text = super().__str__()
        if self.is_done and text:
            for copy in self.__dict__.get(_COPIES, ()):
                copy.complete(text)
        return text


@cache
def _watched(kind: Any) -> Any:
    return type(kind.__name__, (_Watched, kind) if kind is not StreamingAgentChatResponse else (_Watched,), {})


def tee_chat(response: StreamingAgentChatResponse, finish: Finish) -> None:
    """Makes `response` call `finish` with the whole text when it was read to its end, in one go or in several.

    Closed before that, broken by an error, or collected with all its generators, it calls `finish` with None.
    """
    response.__dict__.setdefault(_COPIES, []).append(Copy(finish))
    kind: Any = type(response)
    if not issubclass(kind, _Watched):
        response.__class__ = _watched(kind)
