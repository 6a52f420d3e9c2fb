"""Near-duplicates by the cosine of embeddings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding

from pi_integrations.engine.synthesis.near_duplicates import EmbeddingDuplicates, Match
from pi_integrations.errors import PiUsageError

EAST, FAR_EAST, NORTH_EAST, NORTH, NOWHERE = [1.0, 0.0], [5.0, 0.0], [3.0, 4.0], [0.0, 1.0], [0.0, 0.0]


def test_similarity_is_the_cosine() -> None:
    """(3, 4) and (1, 0): 3 / (5 · 1) = .6; and (0, 1): 4 / 5 = .8, the nearer."""
    index = EmbeddingDuplicates(threshold=0.5)
    index.extend([EAST, NORTH])
    match = index.similar(NORTH_EAST)
    assert match is not None
    assert (match.index, match.similarity) == (1, pytest.approx(0.8))


def test_length_does_not_count_and_the_first_of_equals_wins() -> None:
    index = EmbeddingDuplicates()
    index.extend([NORTH, EAST, FAR_EAST])
    assert index.similar(FAR_EAST) == Match(1, 1.0)


def test_nothing_below_the_threshold_matches() -> None:
    index = EmbeddingDuplicates(threshold=0.81)
    assert index.similar(NORTH_EAST) is None
    index.extend([])
    index.extend([NORTH])
    assert index.similar(NORTH_EAST) is None
    assert len(index) == 1


def test_a_vector_of_zeros_is_like_nothing() -> None:
    index = EmbeddingDuplicates(threshold=0.1)
    index.extend([NOWHERE, NOWHERE])
    assert index.similar(NOWHERE) is None


def test_embeddings_of_langchain_fit_however_many_are_added_at_a_time() -> None:
    model = DeterministicFakeEmbedding(size=64)
    vectors = model.embed_documents([f"text {number}" for number in range(1500)])
    index = EmbeddingDuplicates()
    index.extend(vectors[:900])
    for vector in vectors[900:]:
        index.extend([vector])
    assert len(index) == 1500
    assert index.similar(model.embed_query("text 1499")) == Match(1499, 1.0)
    assert index.similar(model.embed_query("another")) is None


@given(vectors=st.lists(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=1, max_size=8))
def test_similarity_is_symmetric_and_at_most_one(vectors: list[list[float]]) -> None:
    """In both directions, with a threshold that lets nearly all through."""

    def between(first: list[float], second: list[float]) -> float | None:
        index = EmbeddingDuplicates(1e-6)
        index.extend([first])
        match = index.similar(second)
        return match and match.similarity

    for first, second in zip(vectors, reversed(vectors), strict=True):
        one, other = between(first, second), between(second, first)
        assert one == (other if other is None else pytest.approx(other, abs=1e-5)) or (one or other) < 2e-6
        assert one is None or one <= 1


@pytest.mark.parametrize(
    ("vector", "said"),
    [([1.0], "lengths"), ([], "lengths"), ([1.0, float("nan")], "NaN"), ([1.0, float("inf")], "NaN or infinity")],
)
def test_vectors_that_cannot_be_compared_are_refused(vector: list[float], said: str) -> None:
    index = EmbeddingDuplicates()
    index.extend([EAST])
    with pytest.raises(PiUsageError, match=said):
        index.similar(vector)
    with pytest.raises(PiUsageError, match=said):
        index.extend([vector])
    assert len(index) == 1


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_a_threshold_outside_the_unit_interval_is_refused(threshold: float) -> None:
    with pytest.raises(PiUsageError, match="threshold"):
        EmbeddingDuplicates(threshold)
