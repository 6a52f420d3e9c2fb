"""Embeddings of inputs, in a form that can be recorded."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from contextvars import Context

import numpy as np
from langchain_core.embeddings import Embeddings

from pi_integrations.engine.chat_models.failures import NoAnswer, failure_of

__all__ = ["Embedder", "Vectors", "decoded"]

Vectors = dict[str, Sequence[float]]
"""By text."""


class Embedder:
    """Asks a LangChain embeddings model.

    Args:
        embeddings: The model.
        timeout: Seconds for one request.
    """

    def __init__(self, embeddings: Embeddings, *, timeout: float) -> None:
        self._embeddings = embeddings
        self._timeout = timeout

    async def embed(self, texts: list[str]) -> dict[str, str]:
        """The vectors by text, as base64 of float32.

        Raises:
            NoAnswer: for every failure.
        """
        try:
            async with asyncio.timeout(self._timeout):
                call = self._embeddings.aembed_documents(texts)
                vectors = await asyncio.create_task(call, context=Context())
        except Exception as error:  # noqa: BLE001 - whatever a provider raises is a reason, never a crash
            raise failure_of(error, who="embeddings model", reads="input") from None
        if len(vectors) != len(texts):
            raise NoAnswer(f"the embeddings model gave {len(vectors)} vectors for {len(texts)} texts")
        return {text: _encoded(vector) for text, vector in zip(texts, vectors, strict=True)}


def _encoded(vector: Sequence[float]) -> str:
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


def decoded(recorded: Mapping[str, str]) -> Vectors:
    """The vectors of what `embed` gave."""
    return {text: np.frombuffer(base64.b64decode(code), dtype="<f4").tolist() for text, code in recorded.items()}
