"""Which examples a batch is shown, and what a mode means in numbers."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_integrations.engine.synthesis.accepted_items import ShotPool
from pi_integrations.engine.synthesis.items import POLICIES, Item, Policy
from pi_integrations.models.data import ExplorationMode

CONSERVATIVE, ADVENTUROUS = POLICIES[ExplorationMode.CONSERVATIVE], POLICIES[ExplorationMode.ADVENTUROUS]
SEEDS = [Item(f"parcel tracking question number {n}") for n in range(6)]
NEAR = [Item(f"parcel tracking answer {n}") for n in range(20)]
FAR = [Item(f"zebra {n} yodels {n * 7} quietly") for n in range(60)]


def pool() -> ShotPool:
    """Seeds, 20 items near to them and 60 far from them."""
    shots = ShotPool(SEEDS)
    for item in [*FAR, *NEAR]:
        shots.add(item)
    return shots


def chosen(policy: Policy, times: int = 40, count: int = 5) -> list[list[Item]]:
    """Examples of many batches."""
    shots = pool()
    return [shots.choose(count, policy, random.Random(n)) for n in range(times)]


def test_as_many_as_asked_for_and_none_twice() -> None:
    """Where there are so many; else all."""
    assert all(len(set(batch)) == 5 for mode in ExplorationMode for batch in chosen(POLICIES[mode]))
    assert ShotPool([]).choose(5, CONSERVATIVE, random.Random(1)) == []
    assert set(ShotPool(SEEDS[:2]).choose(5, ADVENTUROUS, random.Random(1))) == set(SEEDS[:2])
    assert pool().choose(0, CONSERVATIVE, random.Random(1)) == []


def test_conservative_stays_near_the_seeds_and_adventurous_does_not() -> None:
    """From mode to mode fewer seeds and more items far from them."""
    seeds = [sum(item in SEEDS for batch in chosen(POLICIES[mode]) for item in batch) for mode in ExplorationMode]
    far = [sum(item in FAR for batch in chosen(POLICIES[mode]) for item in batch) for mode in ExplorationMode]
    assert all(more > fewer for more, fewer in pairwise(seeds))
    assert far[0] == 0 and all(fewer < more for fewer, more in pairwise(far))


def test_examples_are_unlike_each_other() -> None:
    """Of near-copies and others, the others come first."""
    copies = [Item(f"How do I reset my password in the app {n}") for n in range(10)]
    others = [Item(text) for text in ("kites in autumn", "the price of eggs", "a sonnet on rust", "why cats purr")]
    shots = ShotPool([*copies, *others])
    for n in range(50):
        batch = shots.choose(4, CONSERVATIVE, random.Random(n))
        assert sum(item in copies for item in batch) <= 1


def test_the_same_items_and_the_same_random_numbers_give_the_same_examples() -> None:
    """In another process too: the pool is rebuilt from the rows."""
    many = [Item(f"item {n} about {n % 17} and {n % 23}") for n in range(2500)]
    one, other = ShotPool(SEEDS), ShotPool(SEEDS)
    for item in many:
        one.add(item)
        other.add(item)
    assert one.choose(9, ADVENTUROUS, random.Random(3)) == other.choose(9, ADVENTUROUS, random.Random(3))


def test_late_items_of_a_long_job_become_examples_too() -> None:
    """The sample that is remembered is drawn from all."""
    shots = ShotPool([])
    for n in range(5000):
        shots.add(Item(f"item {n}"))
    seen = [int(item.llm_input[5:]) for n in range(100) for item in shots.choose(5, ADVENTUROUS, random.Random(n))]
    assert len(seen) == 500 and 0.4 < sum(n >= 2500 for n in seen) / 500 < 0.6


@pytest.mark.parametrize("mode", list(ExplorationMode))
@given(shares=st.lists(st.floats(min_value=0, max_value=1), max_size=60))
def test_temperature_stays_within_its_mode(mode: ExplorationMode, shares: list[float]) -> None:
    """Whatever collides."""
    policy = POLICIES[mode]
    temperature = policy.temperature
    for share in shares:
        after = policy.next_temperature(temperature, share)
        assert policy.temperature <= after <= min(policy.temperature + 0.43, 1.43) + 1e-9
        assert after >= temperature or share < 1e-3
        temperature = after


def test_known_steps_of_the_temperature() -> None:
    """1 + .08 · 1/2 = 1.04; a clear batch takes .02 back; never beyond 1.43."""
    balanced = POLICIES[ExplorationMode.BALANCED]
    assert balanced.next_temperature(1.0, 0.5) == 1.04
    assert balanced.next_temperature(1.04, 0.0) == 1.02
    assert balanced.next_temperature(1.42, 1.0) == 1.43
    assert CONSERVATIVE.next_temperature(1.12, 1.0) == 1.13
