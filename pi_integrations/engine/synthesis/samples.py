"""Which examples a batch is shown: near the seeds or far from them, and unlike each other."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from pi_integrations.engine.synthesis.folding import words
from pi_integrations.engine.synthesis.items import Item
from pi_integrations.engine.synthesis.policies import Policy

__all__ = ["ShotPool"]

_REMEMBERED = 1000
_COMPARED_SEEDS = 20
_COMPARED_WORDS = 200
_CHOICES_A_SHOT = 4


@dataclass(frozen=True, slots=True, order=True)
class _Kept:
    distance: float
    number: int
    item: Item
    words: frozenset[str]


class ShotPool:
    """The seeds, and a random sample of at most 1,000 of the items kept so far, nearest to the seeds first.

    Answers depend on the items, their order and the generator of random numbers alone.
    """

    def __init__(self, seeds: Sequence[Item]) -> None:
        self._seeds = [(seed, _words(seed)) for seed in seeds]
        self._near: list[_Kept] = []
        self._slots: list[_Kept] = []
        self._count = 0

    def add(self, item: Item) -> None:
        """Takes in a kept item."""
        slot = self._slot()
        self._count += 1
        if slot is None:
            return
        said = _words(item)
        kept = _Kept(self._distance(said), self._count, item, said)
        if slot == len(self._slots):
            self._slots.append(kept)
        else:
            del self._near[bisect_left(self._near, self._slots[slot])]
            self._slots[slot] = kept
        insort(self._near, kept)

    def _slot(self) -> int | None:
        """Where the next item goes, so that each one so far is as likely to be here (Vitter 1985, algorithm R)."""
        if self._count < _REMEMBERED:
            return self._count
        slot = random.Random(self._count).randrange(self._count + 1)
        return slot if slot < _REMEMBERED else None

    def _distance(self, said: frozenset[str]) -> float:
        """1 minus the share of words in common with the seed that shares most, 0 to 1."""
        return min((_unlike(said, other) for _, other in self._seeds[:_COMPARED_SEEDS]), default=1.0)

    def draw(self, count: int, policy: Policy, rng: random.Random) -> list[Item]:
        """At most `count` examples: `policy.anchored` of them seeds, the rest kept items within `policy.reach`."""
        reachable = self._near[: max(int(len(self._near) * policy.reach), min(count, len(self._near)))]
        wanted = max(round(count * policy.anchored), count - len(reachable))
        chosen = _diverse(self._seeds, min(wanted, count), [], rng)
        chosen = _diverse([(kept.item, kept.words) for kept in reachable], count - len(chosen), chosen, rng)
        shots = [item for item, _ in chosen]
        rng.shuffle(shots)
        return shots


_Known = tuple[Item, frozenset[str]]


def _diverse(pool: Sequence[_Known], count: int, chosen: Sequence[_Known], rng: random.Random) -> list[_Known]:
    """`chosen` and up to `count` more from a random part of `pool`, each in turn the one least like those before."""
    choices = rng.sample(pool, min(len(pool), max(count, 0) * _CHOICES_A_SHOT))
    chosen = list(chosen)
    nearest = [min((_unlike(said, other) for _, other in chosen), default=1.0) for _, said in choices]
    for _ in range(min(count, len(choices))):
        best = max(range(len(choices)), key=nearest.__getitem__)
        chosen.append(choices[best])
        said = choices[best][1]
        nearest = [min(d, _unlike(said, other)) for d, (_, other) in zip(nearest, choices, strict=True)]
        nearest[best] = -1.0
    return chosen


def _words(item: Item) -> frozenset[str]:
    return frozenset(words(item.llm_input[:5000])[:_COMPARED_WORDS])


def _unlike(left: frozenset[str], right: frozenset[str]) -> float:
    shared = len(left & right)
    total = len(left) + len(right) - shared
    return 1 - shared / total if total else 0.0
