"""Near-duplicates by the cosine of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding

from pi_integrations.engine.synthesis.embedding_duplicates import EmbeddingDuplicates
from pi_integrations.engine.synthesis.near_duplicates import Match
from pi_integrations.errors import PiUsageError

VECTORS = {
    "east": [1.0, 0.0],
    "far east": [5.0, 0.0],
    "north-east": [3.0, 4.0],
    "north": [0.0, 1.0],
    "nowhere": [0.0, 0.0],
}


class Table:
    """Embeds by a table and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: list[str]) -> Sequence[Sequence[float]]:
        self.asked.append(texts)
        return [VECTORS[text] for text in texts]


def test_similarity_is_the_cosine() -> None:
    """(3, 4) and (1, 0): 3 / (5 · 1) = .6; and (0, 1): 4 / 5 = .8, the nearer."""
    index = EmbeddingDuplicates(Table(), threshold=0.5)
    index.extend(["east", "north"])
    match = index.similar("north-east")
    assert match is not None
    assert (match.index, match.similarity) == (1, pytest.approx(0.8))


def test_length_does_not_count_and_the_first_of_equals_wins() -> None:
    index = EmbeddingDuplicates(Table())
    assert [index.add("north"), index.add("east"), index.add("far east")] == [0, 1, 2]
    assert index.similar("far east") == Match(1, 1.0)


def test_nothing_below_the_threshold_matches() -> None:
    index = EmbeddingDuplicates(Table(), threshold=0.81)
    assert index.similar("north-east") is None
    index.add("north")
    assert index.similar("north-east") is None
    assert len(index) == 1


def test_a_vector_of_zeros_is_like_nothing() -> None:
    index = EmbeddingDuplicates(Table(), threshold=0.1)
    index.extend(["nowhere", "nowhere"])
    assert index.similar("nowhere") is None


def test_checking_and_adding_a_text_embeds_it_once() -> None:
    table = Table()
    index = EmbeddingDuplicates(table)
    index.similar("east")
    index.add("east")
    assert table.asked == [["east"]]


def test_embeddings_of_langchain_fit_and_many_texts_go_in_batches() -> None:
    texts = [f"text {number}" for number in range(1500)]
    index = EmbeddingDuplicates(DeterministicFakeEmbedding(size=64).embed_documents)
    index.extend(texts)
    assert len(index) == 1500
    assert index.similar("text 1499") == Match(1499, 1.0)
    assert index.similar("another") is None


@given(vectors=st.lists(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=1, max_size=8))
def test_similarity_is_symmetric_and_at_most_one(vectors: list[list[float]]) -> None:
    """Asked in both directions, with a threshold that lets nearly all through."""

    def between(first: list[float], second: list[float]) -> float | None:
        index = EmbeddingDuplicates(lambda texts: [first if text == "first" else second for text in texts], 1e-6)
        index.add("first")
        match = index.similar("second")
        return match and match.similarity

    for first, second in zip(vectors, reversed(vectors), strict=True):
        one, other = between(first, second), between(second, first)
        assert one == (other if other is None else pytest.approx(other, abs=1e-5)) or (one or other) < 2e-6
        assert one is None or one <= 1


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ([], "0 vectors"),
        ([[1.0, 0.0], [1.0, 0.0]], "2 vectors"),
        ([[1.0]], "lengths"),
        ([[]], "lengths"),
        ([[1.0, float("nan")]], "NaN"),
        ([[1.0, float("inf")]], "NaN or infinity"),
    ],
)
def test_an_embedding_function_that_breaks_its_promise_is_named(vectors: list[list[float]], said: str) -> None:
    index = EmbeddingDuplicates(lambda texts: [[1.0, 0.0]] if texts == ["east"] else vectors)
    index.add("east")
    with pytest.raises(PiUsageError, match=said):
        index.similar("west")
    assert len(index) == 1


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_a_threshold_outside_the_unit_interval_is_refused(threshold: float) -> None:
    with pytest.raises(PiUsageError, match="threshold"):
        EmbeddingDuplicates(Table(), threshold)
