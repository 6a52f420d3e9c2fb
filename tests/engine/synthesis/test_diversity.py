"""Figures of diversity: known values, bounds, independence of order, and None instead of an invented number."""

from __future__ import annotations

import math
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from pi_integrations.engine.synthesis.bleu import mean_bleu_against_others
from pi_integrations.engine.synthesis.diversity import (
    Diversity,
    DiversityFigures,
    Figure,
    distinct_n,
    mean_pairwise_similarity,
    self_bleu,
)
from pi_integrations.engine.synthesis.folding import words

few_words = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=9).map(" ".join)
sets = st.lists(few_words, max_size=9)


def test_distinct_2_counts_distinct_pairs_of_words() -> None:
    """the cat, cat sat | the cat, cat ran: 3 distinct of 4."""
    assert distinct_n(["The cat sat.", "the CAT ran"], 2) == Figure(3 / 4, texts=2, computed_on=2)
    assert distinct_n(["The cat sat.", "the CAT ran"], 1).value == pytest.approx(4 / 6)


def test_distinct_n_is_undefined_without_n_words() -> None:
    assert distinct_n(["one", "two", ""], 2) == Figure(None, texts=3, computed_on=3)
    assert distinct_n([], 1) == Figure(None, texts=0, computed_on=0)


def test_words_are_folded_and_characters_where_no_spaces_are_written() -> None:
    assert words("Don’t PANIC, 我的GPT!") == ["don", "t", "panic", "我", "的", "gpt"]
    assert words(" ?! ") == []


def test_self_bleu_by_hand() -> None:
    """a b c d e and a b c d f: p₁ = 4/5, p₂ = 3/4, p₃ = 2/3, p₄ = 1/2, whose product is 1/5, for both alike."""
    figure = self_bleu(["a b c d e", "a b c d f"])
    assert figure.value == pytest.approx((1 / 5) ** (1 / 4))
    assert (figure.texts, figure.computed_on) == (2, 2)


def test_a_shorter_text_pays_the_brevity_penalty() -> None:
    """a b c in a b c d e f: precisions 1, penalty exp(1 − 6/3); the other way 3/6 · 2/5 · 1/4 · (0.1/3), no penalty."""
    longer = (3 / 6 * 2 / 5 * 1 / 4 * 0.1 / 3) ** (1 / 4)
    assert self_bleu(["a b c", "a b c d e f"]).value == pytest.approx((math.exp(-1) + longer) / 2)


def test_self_bleu_of_copies_is_one_and_of_strangers_zero() -> None:
    assert self_bleu(["hello there", "Hello, there!"]).value == pytest.approx(1)
    assert self_bleu(["one two three", "four five six"]).value == 0


@given(texts=st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9), min_size=2, max_size=6))
def test_bleu_is_what_nltk_computes(texts: list[list[str]]) -> None:
    """NLTK's sentence BLEU of each against the others, smoothing method 1, as in Texygen."""
    smoothing = SmoothingFunction().method1
    expected = [
        sentence_bleu(texts[:i] + texts[i + 1 :], text, smoothing_function=smoothing, auto_reweigh=True)
        for i, text in enumerate(texts)
    ]
    assert mean_bleu_against_others(texts) == pytest.approx(sum(expected) / len(expected), abs=1e-9)


def test_mean_pairwise_similarity_by_hand() -> None:
    """abc and abd share 1 of 5 runs of three (with ends), each shares none with xyz: (1/5 + 0 + 0) / 3."""
    figure = mean_pairwise_similarity(["abc", "abd", "xyz"])
    assert figure.value == pytest.approx(1 / 15)
    assert figure == Figure(figure.value, texts=3, computed_on=3, pairs=3)


def test_only_so_many_pairs_are_compared() -> None:
    """100 texts have 4,950 pairs; of 10 sampled ones 45, and 20 are asked for."""
    figure = mean_pairwise_similarity([f"text {number}" for number in range(100)], sample=10, pairs=20)
    assert (figure.texts, figure.computed_on, figure.pairs) == (100, 10, 20)


@pytest.mark.parametrize("texts", [[], ["only one text"]])
def test_fewer_than_two_texts_have_no_figures(texts: list[str]) -> None:
    diversity = Diversity()
    for text in texts:
        diversity.add(text)
    assert diversity.figures() == DiversityFigures(None, None, None, texts=len(texts), computed_on=len(texts))
    assert self_bleu(texts).value is None
    assert mean_pairwise_similarity(texts).value is None


def test_texts_without_words_are_left_out_of_self_bleu() -> None:
    assert self_bleu(["?!", "", "hello"]) == Figure(None, texts=3, computed_on=1)


@given(texts=sets, seed=st.integers(0, 3), shuffle=st.randoms(use_true_random=False))
def test_order_does_not_matter(texts: list[str], seed: int, shuffle: random.Random) -> None:
    """Not even to which texts are drawn."""
    shuffled = list(texts)
    shuffle.shuffle(shuffled)
    for figure in (
        lambda given: self_bleu(given, sample=4, seed=seed),
        lambda given: mean_pairwise_similarity(given, sample=4, pairs=3, seed=seed),
        lambda given: distinct_n(given, 2),
    ):
        assert figure(texts) == figure(shuffled)


@given(texts=sets)
def test_figures_lie_in_the_unit_interval(texts: list[str]) -> None:
    for value in (distinct_n(texts, 2).value, self_bleu(texts).value, mean_pairwise_similarity(texts).value):
        assert value is None or 0 <= value <= 1


@given(texts=sets.filter(lambda texts: len(texts) > 1))
def test_figures_while_growing_are_those_of_the_set(texts: list[str]) -> None:
    diversity = Diversity()
    for text in texts:
        diversity.add(text)
    assert diversity.figures() == DiversityFigures(
        distinct_2=distinct_n(diversity.sampled(), 2).value,
        self_bleu=self_bleu(texts).value,
        mean_pairwise_similarity=mean_pairwise_similarity(texts).value,
        texts=len(texts),
        computed_on=len(texts),
    )
    assert sorted(diversity.sampled()) == sorted(texts)


def test_copies_are_drawn_as_often_as_they_come() -> None:
    """Half of 2,000 texts are the same one; of 200 drawn about 100 (s.d. 7) are it."""
    diversity = Diversity(seed=4)
    for number in range(1000):
        diversity.add("the same again")
        diversity.add(f"number {number}")
    assert diversity.sampled().count("the same again") == pytest.approx(100, abs=30)
    assert len(set(Diversity(seed=5).sampled())) == 0


def test_a_set_that_repeats_itself_scores_as_less_diverse() -> None:
    rng = random.Random(1)
    vocabulary = ["".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(500)]
    varied = [" ".join(rng.choices(vocabulary, k=12)) for _ in range(300)]
    frame = " ".join(vocabulary[:9])
    alike = [f"{frame} {text}" for text in (" ".join(rng.choices(vocabulary, k=3)) for _ in range(300))]
    assert self_bleu(alike).value > self_bleu(varied).value + 0.3
    assert mean_pairwise_similarity(alike).value > mean_pairwise_similarity(varied).value + 0.3
    assert distinct_n(alike, 2).value < distinct_n(varied, 2).value


def test_megabytes_cost_no_more_than_their_beginnings() -> None:
    """200 megabytes: read to 4,000 characters each, in seconds even on a slow machine."""
    diversity = Diversity()
    for number in range(200):
        diversity.add(f"{number} lorem ipsum dolor " * 45_000)
    started = time.perf_counter()
    assert diversity.figures().computed_on == 200
    assert time.perf_counter() - started < 10
