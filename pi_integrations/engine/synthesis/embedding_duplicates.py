"""Near-duplicates by meaning: the cosine of embeddings that the caller's function makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from pi_integrations.engine.synthesis.near_duplicates import Match
from pi_integrations.errors import PiUsageError

__all__ = ["EmbeddingDuplicates"]

_AT_ONCE = 256

Vectors = npt.NDArray[np.float32]


class EmbeddingDuplicates:
    """Texts added so far, asked for one whose embedding has a cosine of `threshold` or more with a new text's.

    `embed` maps texts to vectors of one length, such as `embed_documents` of LangChain's `Embeddings`. The comparison
    is exact and with every text, in float32: memory is 4 bytes a dimension and text, up to twice that while growing.
    What `embed` raises comes through. Not for several threads at once.

        accepted = EmbeddingDuplicates(embeddings.embed_documents)
        accepted.add("How do I reset my password?")
        accepted.similar("I forgot my password, what now?")

    Raises:
        PiUsageError: `threshold` is not in (0, 1], or `embed` returns another number of vectors than it was given
            texts, vectors of different lengths, or ones that are not finite.
    """

    def __init__(self, embed: Callable[[list[str]], Sequence[Sequence[float]]], threshold: float = 0.95) -> None:
        if not 0 < threshold <= 1:
            raise PiUsageError(f"threshold is {threshold}; a cosine above 0 and up to 1 is needed, such as 0.95")
        self._embed, self._threshold = embed, threshold
        self._vectors: Vectors = np.zeros((0, 0), dtype=np.float32)
        self._count = 0
        self._last: tuple[str, Vectors] | None = None

    def __len__(self) -> int:
        return self._count

    def similar(self, text: str) -> Match | None:
        """The earlier text most like `text`, the first of equals; None when none reaches the threshold.

        `similarity` is the cosine. A vector of zeros is like nothing.
        """
        vector = self._unit_vector(text)
        if not self._count:
            return None
        cosines = self._vectors[: self._count] @ vector[0]
        best = int(np.argmax(cosines))
        cosine = float(cosines[best])
        # Rounding in float32 may leave a text and itself a hair apart.
        similarity = 1.0 if cosine > 1 - 1e-6 else cosine
        return Match(best, similarity) if similarity >= self._threshold else None

    def add(self, text: str) -> int:
        """Adds `text`, whatever it resembles, and returns its index; embeds it unless `similar` just did."""
        self._append(self._unit_vector(text))
        return self._count - 1

    def extend(self, texts: Iterable[str]) -> None:
        """Adds all `texts`, embedding 256 at a time."""
        texts = iter(texts)
        while batch := list(islice(texts, _AT_ONCE)):
            self._append(self._unit_vectors(batch))

    def _unit_vector(self, text: str) -> Vectors:
        if self._last is None or self._last[0] != text:
            self._last = (text, self._unit_vectors([text]))
        return self._last[1]

    def _unit_vectors(self, texts: list[str]) -> Vectors:
        vectors = self._checked(self._embed(texts), len(texts))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    def _checked(self, embedded: Sequence[Sequence[float]], texts: int) -> npt.NDArray[np.float64]:
        sizes = {len(vector) for vector in embedded} | ({self._vectors.shape[1]} if self._count else set())
        if len(embedded) != texts or len(sizes) != 1 or 0 in sizes:
            raise PiUsageError(
                f"The embedding function returned {len(embedded)} vectors of lengths {sorted(sizes)} for {texts} "
                "texts; one vector a text is needed, all of one length"
            )
        vectors = np.asarray(embedded, dtype=np.float64)
        if not np.isfinite(vectors).all():
            raise PiUsageError("The embedding function returned a vector with NaN or infinity; check the model")
        return vectors

    def _append(self, vectors: Vectors) -> None:
        end = self._count + len(vectors)
        if end > len(self._vectors):
            grown = np.zeros((max(end, 2 * len(self._vectors), 1024), vectors.shape[1]), dtype=np.float32)
            if self._count:
                grown[: self._count] = self._vectors[: self._count]
            self._vectors = grown
        self._vectors[self._count : end] = vectors
        self._count = end
