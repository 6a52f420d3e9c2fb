"""PiNodePostprocessor: retrieved nodes filtered and ordered by a rubric, in a real query engine."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from in_memory_engines import Shelf, Talker, in_thread
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import ImageNode, MetadataMode, NodeWithScore, QueryBundle, TextNode

from pi_integrations import AsyncPiClient, PiUsageError, embedded
from pi_integrations.llama_index import PiNodePostprocessor
from pi_integrations.testing import Exchange, ScriptedJudge, Verdict

HELPS = "Does this passage help to answer the question?"
QUERY = "How long does a repair take?"
TABLE = {"week": 0.9, "free": 0.4, "bicycles": 0.1}


def by_passage(exchange: Exchange, question: str) -> float | Verdict:
    for word, score in TABLE.items():
        if word in exchange.llm_output:
            return score
    return Verdict.unscored("no such passage", method="scripted")


@pytest.fixture
def judge() -> ScriptedJudge:
    """Scores passages by a word in them; a passage with none of the words is unscored."""
    return ScriptedJudge(by_passage)


def found(*texts: str) -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text, metadata={"page": 7}), score=0.5) for text in texts]


WEEK, FREE, BICYCLES, OTHER = "Repairs take a week.", "Repairs are free.", "We sell bicycles.", "Lorem ipsum."


def texts(nodes: list[NodeWithScore]) -> list[str]:
    return [node.get_content() for node in nodes]


class TestChoosing:
    """Which nodes come back, and in which order."""

    def test_best_first(self, client: AsyncPiClient) -> None:
        """Without limits, all of them, in the order of their scores."""
        nodes = PiNodePostprocessor(HELPS, client=client).postprocess_nodes(
            found(BICYCLES, WEEK, FREE), query_str=QUERY
        )
        assert texts(nodes) == [WEEK, FREE, BICYCLES]
        assert [node.score for node in nodes] == [0.9, 0.4, 0.1]

    async def test_asynchronously(self, client: AsyncPiClient) -> None:
        """The same, awaited."""
        nodes = await PiNodePostprocessor(HELPS, client=client).apostprocess_nodes(
            found(BICYCLES, WEEK, FREE), QueryBundle(QUERY)
        )
        assert texts(nodes) == [WEEK, FREE, BICYCLES]

    @pytest.mark.parametrize(
        ("limits", "kept"),
        [
            ({"min_score": 0.4}, [WEEK, FREE]),
            ({"top_n": 1}, [WEEK]),
            ({"min_score": 0.4, "top_n": 5}, [WEEK, FREE]),
            ({"min_score": 0.95}, []),
        ],
    )
    def test_limits(self, client: AsyncPiClient, limits: dict[str, Any], kept: list[str]) -> None:
        """min_score is the lowest that stays; top_n cuts what is left."""
        best = PiNodePostprocessor(HELPS, client=client, **limits)
        assert texts(best.postprocess_nodes(found(BICYCLES, WEEK, FREE), query_str=QUERY)) == kept

    def test_equal_scores_keep_their_order(self, client: AsyncPiClient) -> None:
        """The retriever's."""
        same = ["a week, he said", "a week, she said", "a week, they said"]
        assert texts(PiNodePostprocessor(HELPS, client=client).postprocess_nodes(found(*same), query_str=QUERY)) == same

    def test_a_rubric(self, client: AsyncPiClient) -> None:
        """Several questions, and a total."""
        rubric = [{"question": HELPS, "label": "Helps"}, {"question": "Is it short?", "label": "Short"}]
        (node,) = PiNodePostprocessor(rubric, client=client).postprocess_nodes(found(WEEK), query_str=QUERY)
        assert node.metadata["pi_question_scores"] == {"Helps": 0.9, "Short": 0.9}

    def test_no_nodes(self, client: AsyncPiClient) -> None:
        """Nothing in, nothing out."""
        assert PiNodePostprocessor(HELPS, client=client).postprocess_nodes([], query_str=QUERY) == []


class TestScores:
    """Where they are put."""

    def test_the_exchange_is_query_and_passage(self, client: AsyncPiClient, judge: ScriptedJudge) -> None:
        """Without the metadata of the node."""
        PiNodePostprocessor(HELPS, client=client).postprocess_nodes(found(WEEK), query_str=QUERY)
        assert judge.asked == [(Exchange(llm_input=QUERY, llm_output=WEEK), HELPS)]

    def test_metadata_holds_them_and_the_model_does_not_see_them(self, client: AsyncPiClient) -> None:
        """Total, questions and the retriever's own score, beside what was there."""
        (node,) = PiNodePostprocessor(HELPS, client=client).postprocess_nodes(found(WEEK), query_str=QUERY)
        scores = {"pi_score": 0.9, "pi_question_scores": {HELPS: 0.9}, "retrieval_score": 0.5}
        assert node.metadata == {"page": 7, **scores}
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert node.node.get_content(metadata_mode=mode) == f"page: 7\n\n{WEEK}"

    def test_the_nodes_of_the_index_stay_as_they_were(self, client: AsyncPiClient) -> None:
        """What comes back are copies with the same id."""
        nodes = found(WEEK)
        (scored,) = PiNodePostprocessor(HELPS, client=client).postprocess_nodes(nodes, query_str=QUERY)
        assert (nodes[0].metadata, nodes[0].score) == ({"page": 7}, 0.5)
        assert nodes[0].node.excluded_llm_metadata_keys == []
        assert scored.node_id == nodes[0].node_id


class TestOneAfterAnother:
    """What the second says stands, beside what the retriever said."""

    def test_both_score(self, client: AsyncPiClient) -> None:
        nodes = found(WEEK)
        for _ in range(2):
            nodes = PiNodePostprocessor(HELPS, client=client).postprocess_nodes(nodes, query_str=QUERY)
        metadata = nodes[0].metadata
        assert (metadata["pi_score"], metadata["retrieval_score"]) == (0.9, 0.5)

    def test_a_retriever_without_scores(self, client: AsyncPiClient) -> None:
        """The first one's total is not the retriever's."""
        nodes = [NodeWithScore(node=TextNode(text=WEEK))]
        for _ in range(2):
            nodes = PiNodePostprocessor(HELPS, client=client).postprocess_nodes(nodes, query_str=QUERY)
            assert "retrieval_score" not in nodes[0].metadata

    @pytest.mark.parametrize("first", [True, False], ids=["the first fails", "the second fails"])
    def test_one_of_them_fails(self, client: AsyncPiClient, first: bool) -> None:
        scoring = PiNodePostprocessor(HELPS, client=client)
        failing = PiNodePostprocessor(HELPS, client=AsyncPiClient(base_url="http://127.0.0.1:9"))
        nodes = found(WEEK)
        for postprocessor in (failing, scoring) if first else (scoring, failing):
            nodes = in_thread(partial(postprocessor.postprocess_nodes, nodes, query_str=QUERY))
        metadata = nodes[0].metadata
        assert ("pi_score" in metadata, "pi_unscored" in metadata) == (first, not first)
        assert (nodes[0].score, metadata["retrieval_score"]) == (0.9, 0.5)


class TestWithoutScores:
    """Unscored is not 0."""

    @pytest.mark.parametrize(("choice", "kept"), [("keep", [WEEK, OTHER]), ("drop", [WEEK])])
    def test_unscored_nodes(self, client: AsyncPiClient, choice: Any, kept: list[str]) -> None:
        """They stay behind the others, whatever min_score is, or go."""
        best = PiNodePostprocessor(HELPS, client=client, min_score=0.5, unscored_nodes=choice)
        assert texts(best.postprocess_nodes(found(OTHER, WEEK), query_str=QUERY)) == kept

    def test_the_reason_is_kept(self, client: AsyncPiClient, caplog: pytest.LogCaptureFixture) -> None:
        """In the metadata, with the retriever's score; the log says it once."""
        with caplog.at_level(logging.WARNING):
            nodes = PiNodePostprocessor(HELPS, client=client).postprocess_nodes(found(OTHER, OTHER), query_str=QUERY)
        assert [node.score for node in nodes] == [0.5, 0.5]
        assert "no such passage" in nodes[0].metadata["pi_unscored"]
        assert sum("A node was not scored" in record.message for record in caplog.records) == 1

    def test_a_picture_is_unscored(self, client: AsyncPiClient, judge: ScriptedJudge) -> None:
        """It has no text to ask about."""
        picture = NodeWithScore(node=ImageNode(image="aGk=", text=""), score=0.2)
        (node,) = PiNodePostprocessor(HELPS, client=client).postprocess_nodes([picture], query_str=QUERY)
        assert node.metadata["pi_unscored"] == "the node has no text"
        assert judge.asked == []


class TestAtWork:
    """In query engines, threads and event loops."""

    def engine(self, client: AsyncPiClient) -> RetrieverQueryEngine:
        return RetrieverQueryEngine(
            retriever=Shelf(),
            response_synthesizer=get_response_synthesizer(llm=Talker()),
            node_postprocessors=[PiNodePostprocessor(HELPS, client=client, min_score=0.5)],
        )

    def test_in_a_query_engine(self, client: AsyncPiClient) -> None:
        """Only what helps becomes a source."""
        assert texts(in_thread(lambda: self.engine(client).query(QUERY)).source_nodes) == [WEEK]

    async def test_in_an_asynchronous_query(self, client: AsyncPiClient) -> None:
        """Awaited too."""
        assert texts((await self.engine(client).aquery(QUERY)).source_nodes) == [WEEK]

    async def test_synchronously_inside_a_running_loop(self, client: AsyncPiClient) -> None:
        """As a notebook does."""
        best = PiNodePostprocessor(HELPS, client=client, top_n=1)
        assert texts(best.postprocess_nodes(found(FREE, WEEK), query_str=QUERY)) == [WEEK]

    def test_in_many_short_lived_loops(self, client: AsyncPiClient) -> None:
        """One postprocessor, 4 threads, a loop per call."""
        best = PiNodePostprocessor(HELPS, client=client, top_n=1)

        def work(number: int) -> list[str]:
            return texts(asyncio.run(best.apostprocess_nodes(found(FREE, WEEK), query_str=QUERY)))

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(12))) == [[WEEK]] * 12

    def test_a_few_at_a_time(self) -> None:
        """No more than max_concurrency scores are asked for at once."""
        judge = Counting()
        with embedded(judge=judge) as client:
            best = PiNodePostprocessor(HELPS, client=client, max_concurrency=2)
            best.postprocess_nodes(found(*(f"{number} weeks" for number in range(8))), query_str=QUERY)
        assert judge.most == 2


class Counting(ScriptedJudge):
    """Remembers how many answers it was asked for at once."""

    def __init__(self) -> None:
        super().__init__(default=0.5)
        self.now = self.most = 0

    async def answer(self, exchange: Exchange, questions: Any) -> list[Verdict]:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        return await super().answer(exchange, questions)


class TestArguments:
    """What is wrong is said where it is given."""

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"min_score": 2}, "min_score is 2"),
            ({"top_n": 0}, "top_n is 0"),
            ({"max_concurrency": 0}, "max_concurrency 0"),
            ({"unscored_nodes": "maybe"}, "give 'keep' or 'drop'"),
        ],
    )
    def test_bad_values(self, client: AsyncPiClient, given: dict[str, Any], message: str) -> None:
        """Naming the argument."""
        with pytest.raises(PiUsageError, match=message):
            PiNodePostprocessor(HELPS, client=client, **given)

    def test_no_query(self, client: AsyncPiClient) -> None:
        """There is nothing to score against; the error is not one that LlamaIndex takes for its own."""
        with pytest.raises(PiUsageError, match="give query_str or query_bundle"):
            PiNodePostprocessor(HELPS, client=client).postprocess_nodes(found(WEEK))

    def test_no_endpoint(self) -> None:
        """Said when it is made, not at the first query."""
        with pytest.raises(PiUsageError):
            PiNodePostprocessor(HELPS)
