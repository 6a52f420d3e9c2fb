"""A copy of a streamed chat answer, taken while the user reads it.

LlamaIndex's own thread or task reads the model and writes the conversation's memory, whether the user reads or not.
The user reads through properties of the response's class, so the response is given a subclass with watched properties.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from functools import cache, partial
from typing import Any

from llama_index.core.chat_engine.types import StreamingAgentChatResponse

from pi_integrations.llama_index.tee import Copy, Reading, aclose, anext_piece, close, next_piece

__all__ = ["tee_chat"]

_COPIES = "_pi_copies"


class _Watched(StreamingAgentChatResponse):
    """A chat answer that reports when it was read to its end, by one of its generators or by several.

    A stream that fails ends it. A reader that is closed, dropped or cancelled does not: another may continue.
    """

    @property
    def response_gen(self) -> Generator[str, None, None]:
        return _read(super().response_gen, self)

    async def async_response_gen(self) -> AsyncGenerator[str, None]:
        copies, stream = _copies(self), super().async_response_gen()
        step = aiter(stream).__anext__
        try:
            while True:
                try:
                    piece = await anext_piece(step, copies)
                except StopAsyncIteration:
                    break
                except Exception:
                    _break_off(copies)
                    raise
                yield piece
            _complete(self, copies)
        finally:
            _leave(copies)
            await aclose(stream)

    def __str__(self) -> str:
        text = super().__str__()
        if self.is_done and text:
            for copy in _copies(self):
                copy.complete(text)
        return text


def _read(stream: Any, response: _Watched) -> Generator[str, None, None]:
    copies, step = _copies(response), partial(next, iter(stream))
    try:
        while True:
            try:
                piece = next_piece(step, copies)
            except StopIteration:
                break
            except Exception:
                _break_off(copies)
                raise
            yield piece
        _complete(response, copies)
    finally:
        _leave(copies)
        close(stream)


def _copies(response: _Watched) -> Sequence[Copy]:
    copies: Sequence[Copy] = response.__dict__.get(_COPIES, ())
    return copies


def _complete(response: _Watched, copies: Sequence[Copy]) -> None:
    """LlamaIndex stores the text taken by all readers; a reader that starts after the end gets the whole text again."""
    taken = response.unformatted_response
    text = taken if taken and taken.strip() == response.response.strip() else None
    for copy in copies:
        copy.complete(text)


def _break_off(copies: Sequence[Copy]) -> None:
    for copy in copies:
        copy.break_off()


def _leave(copies: Sequence[Copy]) -> None:
    for copy in copies:
        copy.leave()


@cache
def _watched(kind: Any) -> Any:
    return type(kind.__name__, (_Watched, kind) if kind is not StreamingAgentChatResponse else (_Watched,), {})


def tee_chat(response: StreamingAgentChatResponse, reading: Reading) -> None:
    """Makes `response` finish `reading` with the whole text when it was read to its end, in one go or in several.

    Broken by an error, or collected with all its generators, it finishes it with None.
    """
    kind: Any = type(response)
    if not issubclass(kind, _Watched):
        response.__class__ = _watched(kind)
    response.__dict__.setdefault(_COPIES, []).append(Copy(reading))
