"""The items a job has kept: what is like them, which of them are examples, how diverse they are."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from pi_integrations.engine.synthesis.diversity import Diversity
from pi_integrations.engine.synthesis.embedding import Vectors
from pi_integrations.engine.synthesis.embedding_duplicates import EmbeddingDuplicates
from pi_integrations.engine.synthesis.items import Item
from pi_integrations.engine.synthesis.near_duplicates import NearDuplicates
from pi_integrations.engine.synthesis.policies import Policy
from pi_integrations.engine.synthesis.samples import ShotPool

__all__ = ["Kept", "Likeness"]

T = TypeVar("T")
_LONGEST_SHOT = 8_000
# Not the loop's own threads: what holds those up would hold up every job.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="pi-kept")


@dataclass(frozen=True, slots=True)
class Likeness:
    """From where on one input is a near-duplicate of an earlier one.

    Attributes:
        similarity: Of their wording: Jaccard similarity of shingles, .1 to 1.
        cosine: Of their embeddings, above 0 and up to 1.
    """

    similarity: float
    cosine: float


class Kept:
    """Seeds and kept items of one job. What compares many texts runs in a thread, one call after the other.

    Args:
        seeds: What items must not repeat either.
        likeness: What counts as a repetition.
        vectors: Embeddings of the seeds' inputs; none where the engine has no embeddings model.

    Raises:
        PiUsageError: when a number of `likeness` is out of its range.
    """

    def __init__(self, seeds: Sequence[Item], likeness: Likeness, vectors: Vectors) -> None:
        self._likeness = likeness
        self._worded = NearDuplicates(likeness.similarity)
        self._meant = EmbeddingDuplicates(self._vectors_of, likeness.cosine)
        self._vectors: Vectors = {}
        self._shots = ShotPool(seeds)
        self._diversity = Diversity()
        self._lock = Lock()
        self._index([seed.llm_input for seed in seeds], vectors)

    @classmethod
    async def begun(cls, seeds: Sequence[Item], likeness: Likeness, vectors: Vectors) -> Kept:
        """One with these arguments, made in a thread: there may be many seeds."""
        return await asyncio.get_running_loop().run_in_executor(_THREADS, cls, seeds, likeness, vectors)

    async def take_in(self, rows: Sequence[Any], vectors: Vectors) -> None:
        """Takes in what earlier lives of the job kept."""
        await self._threaded(lambda: self._take_in([Item.of_row(row) for row in rows], vectors))

    def _take_in(self, items: Sequence[Item], vectors: Vectors) -> None:
        self._index([item.llm_input for item in items], vectors)
        for item in items:
            self._remember(item)

    def _index(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._worded.extend(texts)
        self._vectors = vectors
        self._meant.extend(text for text in texts if text in vectors)

    async def repeated(self, items: Sequence[Item]) -> list[bool]:
        """Whether each is worded like something kept before, or like one of `items` before it."""
        return await self._threaded(lambda: self._repeated(items))

    def _repeated(self, items: Sequence[Item]) -> list[bool]:
        batch, repeated = NearDuplicates(self._likeness.similarity), []
        for text in (item.llm_input for item in items):
            known = self._worded.similar(text) is not None or batch.similar(text) is not None
            if not known:
                batch.extend([text])
            repeated.append(known)
        return repeated

    async def keep(self, items: Sequence[Item], room: int, vectors: Vectors) -> list[bool]:
        """Keeps the first `room` items that are like none before them; whether each was kept or, beyond `room`, was
        not needed."""
        return await self._threaded(lambda: self._keep(items, room, vectors))

    def _keep(self, items: Sequence[Item], room: int, vectors: Vectors) -> list[bool]:
        self._vectors = vectors
        new = []
        for item in items:
            fresh = room <= 0 or not self._is_known(item.llm_input)
            if fresh and room > 0:
                room -= 1
                self._index([item.llm_input], vectors)
                self._remember(item)
            new.append(fresh)
        return new

    def _is_known(self, text: str) -> bool:
        if self._worded.similar(text) is not None:
            return True
        return text in self._vectors and self._meant.similar(text) is not None

    def _vectors_of(self, texts: list[str]) -> list[Sequence[float]]:
        return [self._vectors[text] for text in texts]

    def _remember(self, item: Item) -> None:
        if item.length <= _LONGEST_SHOT:
            self._shots.add(item)
        self._diversity.add(item.llm_input)

    def shots(self, count: int, policy: Policy, rng: random.Random) -> list[Item]:
        """Examples for a batch."""
        return self._shots.draw(count, policy, rng)

    async def figures(self) -> dict[str, Any]:
        """How diverse the kept items are, as the status tells it."""
        figures = await self._threaded(self._diversity.figures)
        return {
            "distinct_2": figures.distinct_2,
            "self_bleu": figures.self_bleu,
            "mean_pairwise_similarity": figures.mean_pairwise_similarity,
            "computed_on": {"items": figures.computed_on, "of": figures.texts},
        }

    async def _threaded(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, self._locked, work)

    def _locked(self, work: Callable[[], T]) -> T:
        with self._lock:
            return work()
