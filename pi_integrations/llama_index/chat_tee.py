"""A copy of a streamed chat answer, taken while the user reads it.

LlamaIndex's own thread or task reads the model and writes the conversation's memory, whether the user reads or not.
What the user reads comes through properties of the response's class, so the response is given a class with the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from functools import cache
from typing import Any

from llama_index.core.chat_engine.types import StreamingAgentChatResponse

from pi_integrations.llama_index.tee import Copy, Reading, aclose, close, pieces_of, pieces_of_async

__all__ = ["tee_chat"]

_COPIES = "_pi_copies"


class _Watched(StreamingAgentChatResponse):
    """A chat answer that says when it was read to its end, by one of its generators or by several."""

    @property
    def response_gen(self) -> Generator[str, None, None]:
        return _read(super().response_gen, self)

    async def async_response_gen(self) -> AsyncGenerator[str, None]:
        copies, stream = _copies(self), super().async_response_gen()
        try:
            async for piece in pieces_of_async(stream, copies):
                yield piece
            _complete(self, copies)
        except BaseException as error:
            _stop(copies, error)
            raise
        finally:
            await aclose(stream)

    def __str__(self) -> str:
        text = super().__str__()
        if self.is_done and text:
            for copy in _copies(self):
                copy.complete(text)
        return text


def _read(stream: Any, response: _Watched) -> Generator[str, None, None]:
    copies = _copies(response)
    try:
        yield from pieces_of(stream, copies)
        _complete(response, copies)
    except BaseException as error:
        _stop(copies, error)
        raise
    finally:
        close(stream)


def _copies(response: _Watched) -> Sequence[Copy]:
    copies: Sequence[Copy] = response.__dict__.get(_COPIES, ())
    return copies


def _complete(response: _Watched, copies: Sequence[Copy]) -> None:
    """LlamaIndex keeps what all readers took; one that comes when nothing is left is given the whole text again."""
    taken = response.unformatted_response
    text = taken if taken and taken.strip() == response.response.strip() else None
    for copy in copies:
        copy.complete(text)


def _stop(copies: Sequence[Copy], error: BaseException) -> None:
    """Of a reader that is closed, or dropped, another may read on where it stopped."""
    for copy in copies:
        copy.leave() if isinstance(error, GeneratorExit) else copy.break_off()


@cache
def _watched(kind: Any) -> Any:
    return type(kind.__name__, (_Watched, kind) if kind is not StreamingAgentChatResponse else (_Watched,), {})


def tee_chat(response: StreamingAgentChatResponse, reading: Reading) -> None:
    """Makes `response` finish `reading` with the whole text when it was read to its end, in one go or in several.

    Broken by an error, or collected with all its generators, it finishes it with None.
    """
    response.__dict__.setdefault(_COPIES, []).append(Copy(reading))
    kind: Any = type(response)
    if not issubclass(kind, _Watched):
        response.__class__ = _watched(kind)
