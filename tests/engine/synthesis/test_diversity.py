"""Figures of diversity: known values, bounds, independence of order, and None instead of an invented number."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_integrations.engine.synthesis.accepted_items import Diversity, distinct_2, mean_pairwise_similarity
from pi_integrations.engine.synthesis.shingles import words

few_words = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=9).map(" ".join)
sets = st.lists(few_words, max_size=9)


def diversity_of(texts: list[str], sample: int = 200) -> Diversity:
    diversity = Diversity(sample)
    for text in texts:
        diversity.add(text)
    return diversity


def test_distinct_2_counts_distinct_pairs_of_words() -> None:
    """the cat, cat sat | the cat, cat ran: 3 distinct of 4."""
    assert distinct_2(["The cat sat.", "the CAT ran"]) == 3 / 4


def test_distinct_2_is_undefined_without_two_words() -> None:
    assert distinct_2(["one", "two", ""]) is None
    assert distinct_2([]) is None


def test_words_are_folded_and_characters_where_no_spaces_are_written() -> None:
    assert words("Don’t PANIC, 我的GPT!") == ["don", "t", "panic", "我", "的", "gpt"]
    assert words(" ?! ") == []


def test_mean_pairwise_similarity_by_hand() -> None:
    """abc and abd share 1 of 5 runs of three (with ends), each shares none with xyz: (1/5 + 0 + 0) / 3."""
    assert mean_pairwise_similarity(["abc", "abd", "xyz"]) == pytest.approx(1 / 15)


def test_only_so_many_pairs_are_compared() -> None:
    """One pair drawn of six, of which half are copies: 0 or 1, where the mean of all is 1/3."""
    texts = ["abc", "abc", "xyz", "xyz"]
    assert mean_pairwise_similarity(texts) == pytest.approx(1 / 3)
    assert mean_pairwise_similarity(texts, pairs=1) in (0.0, 1.0)


@pytest.mark.parametrize("texts", [[], ["only one text"]])
def test_fewer_than_two_texts_have_no_figures(texts: list[str]) -> None:
    assert diversity_of(texts).figures() == {
        "distinct_2": None,
        "mean_pairwise_similarity": None,
        "computed_on": {"items": len(texts), "of": len(texts)},
    }


@given(texts=sets, shuffle=st.randoms(use_true_random=False))
def test_order_does_not_matter(texts: list[str], shuffle: random.Random) -> None:
    """Not even to which texts are sampled."""
    shuffled = list(texts)
    shuffle.shuffle(shuffled)
    assert diversity_of(texts, sample=4).figures() == diversity_of(shuffled, sample=4).figures()


@given(texts=sets)
def test_figures_lie_in_the_unit_interval(texts: list[str]) -> None:
    for value in (distinct_2(texts), mean_pairwise_similarity(texts)):
        assert value is None or 0 <= value <= 1


@given(texts=sets.filter(lambda texts: len(texts) > 1))
def test_figures_of_a_small_set_are_computed_on_all_of_it(texts: list[str]) -> None:
    diversity = diversity_of(texts)
    assert sorted(diversity.sampled()) == sorted(texts)
    assert diversity.figures() == {
        "distinct_2": distinct_2(texts),
        "mean_pairwise_similarity": pytest.approx(mean_pairwise_similarity(texts)),
        "computed_on": {"items": len(texts), "of": len(texts)},
    }


def test_a_large_set_is_sampled() -> None:
    assert diversity_of([f"text {n}" for n in range(1000)]).figures()["computed_on"] == {"items": 200, "of": 1000}


def test_copies_are_sampled_as_often_as_they_come() -> None:
    """Half of 2,000 texts are the same one; of 200 sampled about 100 (s.d. 7) are it."""
    diversity = diversity_of([text for n in range(1000) for text in ("the same again", f"number {n}")])
    assert diversity.sampled().count("the same again") == pytest.approx(100, abs=30)


def test_a_set_that_repeats_itself_scores_as_less_diverse() -> None:
    rng = random.Random(1)
    vocabulary = ["".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(500)]
    varied = [" ".join(rng.choices(vocabulary, k=12)) for _ in range(300)]
    frame = " ".join(vocabulary[:9])
    alike = [f"{frame} {text}" for text in (" ".join(rng.choices(vocabulary, k=3)) for _ in range(300))]
    first, second = diversity_of(varied).figures(), diversity_of(alike).figures()
    assert first["distinct_2"] > second["distinct_2"] + 0.3
    assert second["mean_pairwise_similarity"] > first["mean_pairwise_similarity"] + 0.3


def test_megabytes_cost_no_more_than_their_beginnings() -> None:
    """200 megabytes: read to 4,000 characters each, in seconds even on a slow machine."""
    diversity = Diversity()
    for number in range(200):
        diversity.add(f"{number} lorem ipsum dolor " * 45_000)
    started = time.perf_counter()
    assert diversity.figures()["computed_on"] == {"items": 200, "of": 200}
    assert time.perf_counter() - started < 10
