"""The items a job has accepted: which new ones repeat them, which are examples, how diverse they are."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import random
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, pairwise
from threading import Lock
from typing import Any, TypeVar

from pi_integrations.engine.chat_models.asking import Vectors
from pi_integrations.engine.synthesis.items import Item, Policy
from pi_integrations.engine.synthesis.near_duplicates import EmbeddingDuplicates, NearDuplicates, Sketch, jaccard
from pi_integrations.engine.synthesis.shingles import shingles, words

__all__ = ["AcceptedItems", "Diversity", "ShotPool", "distinct_2", "mean_pairwise_similarity"]

# What bounds the time and memory of choosing examples in a job of 100,000 items.
_REMEMBERED = 1000
_COMPARED_SEEDS = 20
_COMPARED_WORDS = 200
_WORDS_WITHIN = 5000
_CHOICES_PER_SHOT = 4
# What bounds the time of the figures of diversity to some tenths of a second.
_SAMPLE = 200
_PAIRS = 1000
_SAMPLED_CHARACTERS = 4000


@dataclass(frozen=True, slots=True, order=True)
class _Accepted:
    distance: float
    number: int
    item: Item
    words: frozenset[str]


# Characters of an item; a few longer ones as examples would fill a prompt.
_LONGEST_SHOT = 8_000
# Not the loop's own threads: what holds those up would hold up every job.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="pi-accepted")
_Known = tuple[Item, frozenset[str]]


class ShotPool:
    """The seeds, and a random sample of at most 1,000 accepted items, nearest to the seeds first.

    Its choices depend on the items, their order and the random numbers alone.
    """

    def __init__(self, seeds: Sequence[Item] = ()) -> None:
        self._seeds = [(seed, _words(seed)) for seed in seeds]
        self._near: list[_Accepted] = []
        self._slots: list[_Accepted] = []
        self._count = 0

    def add(self, item: Item) -> None:
        """Adds an accepted item."""
        slot = self._slot()
        self._count += 1
        if slot is None:
            return
        known = _words(item)
        # 1 minus the share of words in common with the seed that shares most, 0 to 1.
        distance = min((_unlike(known, other) for _, other in self._seeds[:_COMPARED_SEEDS]), default=1.0)
        accepted = _Accepted(distance, self._count, item, known)
        if slot == len(self._slots):
            self._slots.append(accepted)
        else:
            del self._near[bisect_left(self._near, self._slots[slot])]
            self._slots[slot] = accepted
        insort(self._near, accepted)

    def _slot(self) -> int | None:
        """The place of the next item, so that each one so far is as likely to be here (Vitter 1985, algorithm R)."""
        if self._count < _REMEMBERED:
            return self._count
        slot = random.Random(self._count).randrange(self._count + 1)
        return slot if slot < _REMEMBERED else None

    def choose(self, count: int, policy: Policy, rng: random.Random) -> list[Item]:
        """At most `count` examples: `policy.seed_share` of them seeds, the rest from the nearest accepted items."""
        near = self._near[: max(int(len(self._near) * policy.near_share), min(count, len(self._near)))]
        seeds = max(round(count * policy.seed_share), count - len(near))
        chosen = _diverse(self._seeds, min(seeds, count), [], rng)
        chosen = _diverse([(accepted.item, accepted.words) for accepted in near], count - len(chosen), chosen, rng)
        shots = [item for item, _ in chosen]
        rng.shuffle(shots)
        return shots


def _diverse(pool: Sequence[_Known], count: int, chosen: Sequence[_Known], rng: random.Random) -> list[_Known]:
    """`chosen` and up to `count` more from a random part of `pool`, each in turn the one least like those before."""
    choices = rng.sample(pool, min(len(pool), max(count, 0) * _CHOICES_PER_SHOT))
    chosen = list(chosen)
    nearest = [min((_unlike(known, other) for _, other in chosen), default=1.0) for _, known in choices]
    for _ in range(min(count, len(choices))):
        best = max(range(len(choices)), key=nearest.__getitem__)
        chosen.append(choices[best])
        known = choices[best][1]
        nearest = [min(least, _unlike(known, other)) for least, (_, other) in zip(nearest, choices, strict=True)]
        nearest[best] = -1.0
    return chosen


def _words(item: Item) -> frozenset[str]:
    return frozenset(words(item.llm_input[:_WORDS_WITHIN])[:_COMPARED_WORDS])


def _unlike(left: frozenset[str], right: frozenset[str]) -> float:
    shared = len(left & right)
    total = len(left) + len(right) - shared
    return 1 - shared / total if total else 0.0


class Diversity:
    """How different texts are from each other, by a sample of them in bounded memory.

    The sample is uniform, and depends on the texts alone, not on their order or the process: of a hash of each text and
    of how often it came before, the 200 smallest.

        diversity = Diversity()
        diversity.add("How do I reset my password?")
        diversity.figures()["computed_on"]  # {"items": 1, "of": 1}
    """

    def __init__(self, sample: int = _SAMPLE) -> None:
        self._size = sample
        self._times: Counter[bytes] = Counter()
        self._heap: list[tuple[int, str]] = []
        self._count = 0

    def add(self, text: str) -> None:
        """Counts `text` in, and samples its first 4,000 characters or not."""
        self._count += 1
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._times[digest] += 1
        key = hashlib.blake2b(digest, digest_size=8, key=f"0:{self._times[digest]}".encode())
        # Negative, since the heap gives up its smallest.
        entry = (-int.from_bytes(key.digest(), "big"), text[:_SAMPLED_CHARACTERS])
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def sampled(self) -> list[str]:
        """The beginnings of the sampled texts, in an order that does not depend on the order of adding."""
        return [text for _, text in sorted(self._heap, reverse=True)]

    def figures(self) -> dict[str, Any]:
        """The figures by their name in `GenerationFigures`; None for those that are undefined."""
        texts = self.sampled()
        return {
            "distinct_2": distinct_2(texts) if len(texts) > 1 else None,
            "mean_pairwise_similarity": mean_pairwise_similarity(texts),
            "computed_on": {"items": len(texts), "of": self._count},
        }


def distinct_2(texts: Iterable[str]) -> float | None:
    """Distinct pairs of neighbouring words divided by all such pairs, in (0, 1] (Li et al. 2016, §4).

    None when no text has two words. In scripts without spaces between words a character counts as a word.
    """
    pairs = [pair for text in texts for pair in pairwise(words(text))]
    return len(set(pairs)) / len(pairs) if pairs else None


def mean_pairwise_similarity(texts: Iterable[str], pairs: int = _PAIRS) -> float | None:
    """The mean Jaccard similarity of `shingles` over all pairs of texts, or over `pairs` of them drawn at random.

    In [0, 1]; None for fewer than two texts.
    """
    compared = list(combinations([Sketch.of(shingles(text)) for text in texts], 2))
    if len(compared) > pairs:
        compared = random.Random(0).sample(compared, pairs)
    return sum(jaccard(left, right) for left, right in compared) / len(compared) if compared else None


T = TypeVar("T")


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
