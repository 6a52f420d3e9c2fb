"""The text and the contexts of LlamaIndex's four response types."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)

from pi_integrations.errors import PiUsageError

__all__ = ["aread_text", "contexts_of", "read_text", "ready_text"]

T = TypeVar("T")


def contexts_of(response: RESPONSE_TYPE | None) -> list[str]:
    """Texts of the source nodes, in their order; nodes without text, such as images, are left out."""
    nodes = response.source_nodes if response is not None else []
    return [text for node in nodes or () if (text := node.get_content())]


def ready_text(response: RESPONSE_TYPE) -> str | None:
    """The answer as far as it exists without reading a stream: None for an unread stream, or for no answer.

    A Pydantic answer is given as JSON.

    Raises:
        PiUsageError: when it is none of the four response types.
    """
    if isinstance(response, Response):
        return response.response
    if isinstance(response, PydanticResponse):
        return response.response.model_dump_json() if response.response is not None else None
    if isinstance(response, StreamingResponse | AsyncStreamingResponse):
        return response.response_txt
    raise PiUsageError(
        f"response is a {type(response).__name__}; give a Response, PydanticResponse, StreamingResponse or"
        " AsyncStreamingResponse"
    )


def read_text(response: RESPONSE_TYPE) -> str | None:
    """The whole answer, a stream read to its end; None for no answer. The response stores the text it read.

    Raises:
        PiUsageError: when it is no response, or its stream gives nothing.
    """
    text = ready_text(response)
    if text is None and isinstance(response, StreamingResponse):
        return _not_empty(response.get_response().response)
    if text is None and isinstance(response, AsyncStreamingResponse):
        return _not_empty(_run_apart(response.get_response()).response)
    return text


async def aread_text(response: RESPONSE_TYPE) -> str | None:
    """`read_text`, without blocking the event loop."""
    text = ready_text(response)
    if text is None and isinstance(response, StreamingResponse):
        return _not_empty((await asyncio.to_thread(response.get_response)).response)
    if text is None and isinstance(response, AsyncStreamingResponse):
        return _not_empty((await response.get_response()).response)
    return text


def _not_empty(text: str | None) -> str:
    if not text:
        raise PiUsageError(
            "the response's stream gave no text: it was read before, or the model said nothing. Evaluate the text you"
            " read with evaluate(query=..., response=text)"
        )
    return text


def _run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of `coroutine`, run in a thread, because `asyncio.run` fails where an event loop is running."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="pi-stream") as pool:
        return pool.submit(asyncio.run, coroutine).result()
