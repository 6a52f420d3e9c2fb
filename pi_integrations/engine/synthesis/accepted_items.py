"""The items a job has accepted: which new ones repeat them, which are examples, how diverse they are."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from pi_integrations.engine.synthesis.embedding import Vectors
from pi_integrations.engine.synthesis.items import Item, Policy
from pi_integrations.engine.synthesis.near_duplicates import EmbeddingDuplicates, NearDuplicates
from pi_integrations.engine.synthesis.samples import Diversity, ShotPool

__all__ = ["AcceptedItems"]

T = TypeVar("T")
# Characters of an item; a few longer ones as examples would fill a prompt.
_LONGEST_SHOT = 8_000
# Not the loop's own threads: what holds those up would hold up every job.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="pi-accepted")


class AcceptedItems:
    """Seeds and accepted items of one job. What compares many texts runs in a thread, one call after the other.

    Args:
        similarity: Jaccard similarity of two inputs' wording, in (0, 1], from which the later is a repetition.
        cosine: Cosine of two inputs' embeddings, in (0, 1], from which the later is a repetition.

    Raises:
        PiUsageError: when one of them is out of its range.
    """

    def __init__(self, similarity: float, cosine: float) -> None:
        self._similarity = similarity
        self._wordings = NearDuplicates(similarity)
        self._meanings = EmbeddingDuplicates(cosine)
        self._shots = ShotPool()
        self._diversity = Diversity()
        self._lock = Lock()

    async def add_seeds(self, seeds: Sequence[Item], vectors: Vectors) -> None:
        """Adds the seeds, which come first; `vectors` are their inputs' embeddings, where the engine has a model."""

        def work() -> None:
            self._shots = ShotPool(seeds)
            self._index([seed.llm_input for seed in seeds], vectors)

        await self._threaded(work)

    async def restore(self, rows: Sequence[Any], vectors: Vectors) -> None:
        """Adds the rows that earlier attempts at the job committed."""

        def work() -> None:
            for row in rows:
                self._add(Item.of_row(row), vectors)

        await self._threaded(work)

    async def repeated(self, items: Sequence[Item]) -> list[bool]:
        """Whether each is worded like something added before, or like one of `items` before it."""
        return await self._threaded(lambda: self._repeated([item.llm_input for item in items]))

    def _repeated(self, texts: Sequence[str]) -> list[bool]:
        batch, repeated = NearDuplicates(self._similarity), []
        for text in texts:
            known = self._wordings.similar(text) is not None or batch.similar(text) is not None
            if not known:
                batch.add(text)
            repeated.append(known)
        return repeated

    async def accept(self, items: Sequence[Item], room: int, vectors: Vectors) -> list[bool]:
        """Adds the first `room` items that repeat nothing before them; False for each repetition, else True.

        Items beyond `room` are not compared any more.
        """
        return await self._threaded(lambda: self._accept(items, room, vectors))

    def _accept(self, items: Sequence[Item], room: int, vectors: Vectors) -> list[bool]:
        new = []
        for item in items:
            fresh = room <= 0 or not self._is_known(item.llm_input, vectors)
            if fresh and room > 0:
                room -= 1
                self._add(item, vectors)
            new.append(fresh)
        return new

    def _is_known(self, text: str, vectors: Vectors) -> bool:
        if self._wordings.similar(text) is not None:
            return True
        return text in vectors and self._meanings.similar(vectors[text]) is not None

    def _add(self, item: Item, vectors: Vectors) -> None:
        self._index([item.llm_input], vectors)
        if item.length <= _LONGEST_SHOT:
            self._shots.add(item)
        self._diversity.add(item.llm_input)

    def _index(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._wordings.extend(texts)
        self._meanings.extend(vectors[text] for text in texts if text in vectors)

    def shots(self, count: int, policy: Policy, rng: random.Random) -> list[Item]:
        """Examples for a batch."""
        return self._shots.choose(count, policy, rng)

    async def figures(self) -> dict[str, Any]:
        """How diverse the accepted items are, as fields of `GenerationFigures`."""
        return await self._threaded(self._diversity.figures)

    async def _threaded(self, work: Callable[[], T]) -> T:
        def locked() -> T:
            with self._lock:
                return work()

        return await asyncio.get_running_loop().run_in_executor(_THREADS, locked)
