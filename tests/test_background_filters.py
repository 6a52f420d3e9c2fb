"""Which exchanges a BackgroundScorer scores: names, tags, predicates and sampling."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from pi_integrations import AsyncPiClient, PiUsageError
from pi_integrations.background import BackgroundScorer, MemorySink, ScorerCounts

RUBRIC = [{"question": "Is the answer polite?"}]
TRAFFIC = [("support", ["beta"]), ("support", ["internal", "beta"]), ("search", ["beta"]), ("search", []), (None, [])]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"names": ["support"]}, [0, 1]),
        ({"names": "search"}, [2, 3]),
        ({"names": lambda name: name is None}, [4]),
        ({"tags": {"internal", "beta"}}, [0, 1, 2]),
        ({"tags": lambda tags: len(tags) == 2}, [1]),
        ({"exclude_tags": ["internal"]}, [0, 2, 3, 4]),
        ({"exclude_tags": lambda tags: "beta" in tags}, [3, 4]),
        ({"names": ["support"], "tags": "beta", "exclude_tags": "internal"}, [0]),
        ({"names": []}, []),
    ],
)
def test_only_matching_exchanges_are_scored(client: AsyncPiClient, given: dict[str, Any], taken: list[int]) -> None:
    """Names, tags and excluded tags, exact or by a function; the rest is counted as filtered out."""
    sink = MemorySink()
    with BackgroundScorer(RUBRIC, client=client, sink=sink, **given) as scorer:
        for number, (name, tags) in enumerate(TRAFFIC):
            queued = scorer.submit(llm_input="Hello?", llm_output=str(number), name=name, tags=tags)
            assert queued == (number in taken)
        assert scorer.flush(10)
        assert scorer.counts() == ScorerCounts(
            submitted=len(taken), scored=len(taken), filtered_out=len(TRAFFIC) - len(taken)
        )
    assert sorted(int(score.llm_output) for score in sink.scores) == taken


def test_scores_carry_name_and_tags(client: AsyncPiClient) -> None:
    """So that a sink can tell traffic apart."""
    sink = MemorySink()
    with BackgroundScorer(RUBRIC, client=client, sink=sink) as scorer:
        scorer.submit(llm_input="Hello?", llm_output="Good day", name="support", tags=["beta"])
        scorer.flush(10)
    assert [(score.name, score.tags) for score in sink.scores] == [("support", ("beta",))]


def test_sampling_takes_its_share_of_what_matches(client: AsyncPiClient) -> None:
    """What the filters leave out is not in the sample's base (bounds: nine standard deviations)."""
    with BackgroundScorer(RUBRIC, client=client, names="support", sample_rate=0.5) as scorer:
        for number in range(1000):
            scorer.submit(llm_input="Hello?", llm_output="Good day", name="support" if number % 2 else "search")
        counts = scorer.counts()
        scorer.close()
    assert counts.filtered_out == 500
    assert counts.submitted + counts.sampled_out == 500
    assert 150 <= counts.submitted <= 350


@pytest.mark.parametrize("kind", [LookupError, SystemExit, asyncio.CancelledError])
async def test_a_filter_that_raises_fails_the_exchange_and_never_the_application(
    client: AsyncPiClient, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    """Counted, and logged once."""

    def wanted(name: str | None) -> bool:
        raise kind("no such table")

    async with BackgroundScorer(RUBRIC, client=client, names=wanted) as scorer:
        taken = [scorer.submit(llm_input="Hello?", llm_output="Good day") for _ in range(3)]
        assert taken == [False] * 3
        assert scorer.counts() == ScorerCounts(submitted=3, failed=3)
    assert [record.message.count("no such table") for record in caplog.records] == [1]


@pytest.mark.parametrize("name", ["names", "tags", "exclude_tags"])
@pytest.mark.parametrize("given", [7, [7]])
def test_filters_that_are_none_are_refused(client: AsyncPiClient, name: str, given: Any) -> None:
    """The message names the argument."""
    with pytest.raises(PiUsageError, match=f"^{name} is a "):
        BackgroundScorer(RUBRIC, client=client, **{name: given})


@pytest.mark.parametrize("options", [{}, {"tags": ["beta"]}], ids=["all", "filtered"])
def test_a_text_for_the_tags_of_an_exchange_fails_it(
    client: AsyncPiClient, options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its letters are no tags; the log says what to give."""
    with BackgroundScorer(RUBRIC, client=client, **options) as scorer:
        assert not scorer.submit(llm_input="Hello?", llm_output="Good day", tags="beta")
        assert scorer.counts() == ScorerCounts(submitted=1, failed=1)
    assert "give a list of tags: ['beta']" in caplog.text


def test_an_application_s_seeded_random_numbers_stay_as_they_are(client: AsyncPiClient) -> None:
    """Sampling draws from a generator of its own."""
    random.seed(7)
    alone = [random.random() for _ in range(3)]
    random.seed(7)
    with BackgroundScorer(RUBRIC, client=client, sample_rate=0.5) as scorer:
        watched = []
        for _ in range(3):
            scorer.submit(llm_input="Hello?", llm_output="Good day")
            watched.append(random.random())
        scorer.flush(10)
    assert watched == alone
