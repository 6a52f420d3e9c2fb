"""`PiDocumentFilter`: which documents it keeps, in what order, and what it does about those without a score."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from adapter_judges import CountingJudge, StuckJudge
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.runnables import RunnablePassthrough
from live_models import TwoPassages
from questions import POLITE

from pi_integrations import PiClient, PiStatusError, PiUsageError, RetryPolicy
from pi_integrations.langchain import PiDocumentFilter
from pi_integrations.testing import Exchange, ScriptedJudge, Verdict, embedded

SCORES: dict[str, float] = {"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.9}


def by_text(exchange: Exchange, question: str) -> float | Verdict:
    """The score of the text; `?` has none."""
    if exchange.llm_output == "?":
        return Verdict.unscored("unreadable", method="scripted")
    return SCORES.get(exchange.llm_output, 0.0)


@pytest.fixture
def judge() -> ScriptedJudge:
    return ScriptedJudge(by_text)


@pytest.fixture
def pi(judge: ScriptedJudge) -> Any:
    with embedded(judge=judge) as client:
        yield client


def documents(texts: str) -> list[Document]:
    """A document per letter."""
    return [Document(text, id=text, metadata={"page": number}) for number, text in enumerate(texts)]


def kept(result: Any) -> str:
    return "".join(document.page_content for document in result)


def test_documents_at_or_above_the_bound_come_back_best_first(pi: PiClient) -> None:
    """Equal scores in the order retrieved; each with its score, in copies."""
    given = documents("abcd")
    result = PiDocumentFilter(client=pi, min_score=0.5).compress_documents(given, "Q")
    assert kept(result) == "bdc"
    assert result[0].metadata == {"page": 1, "pi_score": 0.9}
    assert (result[0].id, given[1].metadata) == ("b", {"page": 1})


def test_no_more_than_top_k_are_kept(pi: PiClient) -> None:
    """The best of them."""
    assert kept(PiDocumentFilter(client=pi, top_k=2, min_score=0.0).compress_documents(documents("abcd"), "Q")) == "bd"
    assert PiDocumentFilter(client=pi).compress_documents([], "Q") == []


def test_one_question_is_asked_of_query_and_text(pi: PiClient, judge: ScriptedJudge) -> None:
    """Given as a string; a spec works too."""
    PiDocumentFilter(POLITE, client=pi).compress_documents(documents("a"), "Q")
    PiDocumentFilter([{"question": POLITE, "weight": 2}], client=pi).compress_documents(documents("b"), "Q")
    assert judge.asked == [(Exchange("Q", "a"), POLITE), (Exchange("Q", "b"), POLITE)]


@pytest.mark.parametrize(("policy", "expected"), [("keep", "b?"), ("drop", "b")])
def test_unscored_documents_are_kept_or_dropped(pi: PiClient, policy: Any, expected: str) -> None:
    """Kept ones come last and say why."""
    result = PiDocumentFilter(client=pi, unscored_documents=policy).compress_documents(documents("?ab"), "Q")
    assert kept(result) == expected
    if policy == "keep":
        assert result[-1].metadata["pi_score"] is None
        assert "unreadable" in result[-1].metadata["pi_unscored"]


@pytest.mark.parametrize(("policy", "expected"), [("keep", "b\ud800"), ("drop", "b")], ids=["keep", "drop"])
async def test_a_text_that_cannot_be_sent_is_one_unscored_document(pi: PiClient, policy: Any, expected: str) -> None:
    """The others come back all the same."""
    filtering = PiDocumentFilter(client=pi, unscored_documents=policy)
    result = await filtering.acompress_documents(documents("\ud800ab"), "Q")
    assert kept(result) == expected
    if policy == "keep":
        assert "PiUsageError" in result[-1].metadata["pi_unscored"]
    with pytest.raises(PiUsageError):
        await PiDocumentFilter(client=pi, unscored_documents="raise").acompress_documents(documents("\ud800"), "Q")


def test_while_the_service_is_down_documents_come_back_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the order retrieved."""
    with PiClient(base_url="http://127.0.0.1:9", api_key="key", retry=RetryPolicy(total=0.2)) as down:
        filtering = PiDocumentFilter(client=down)
        with caplog.at_level(logging.WARNING, "pi_integrations.langchain"):
            results = [filtering.compress_documents(documents("abc"), "Q") for _ in range(2)]
    assert [kept(result) for result in results] == ["abc", "abc"]
    (record,) = [record for record in caplog.records if record.name == "pi_integrations.langchain"]
    assert "A document was not scored: PiConnectionError" in record.getMessage()


async def test_unscored_documents_raise_if_asked_for(pi: PiClient) -> None:
    """The client's own error, sync and async."""
    strict = PiDocumentFilter(client=pi, unscored_documents="raise")
    with pytest.raises(PiStatusError):
        await strict.acompress_documents(documents("a?"), "Q")
    with pytest.raises(PiStatusError):
        await asyncio.to_thread(strict.compress_documents, documents("a?"), "Q")


async def test_after_an_error_no_further_documents_are_scored(pi: PiClient, judge: ScriptedJudge) -> None:
    """Nobody is there to take their scores."""
    strict = PiDocumentFilter(client=pi, unscored_documents="raise", max_concurrency=1)
    with pytest.raises(PiStatusError):
        await strict.acompress_documents(documents("?abcd"), "Q")
    await asyncio.sleep(0.1)
    assert judge.asked is not None
    assert len({exchange.llm_output for exchange, _ in judge.asked}) <= 2


async def test_it_is_a_runnable(pi: PiClient) -> None:
    """Behind a retriever in a chain, sync and async, with a run of its own."""
    filtering = PiDocumentFilter(client=pi, min_score=0.0, top_k=1, name="filtering")
    chain: Any = {"documents": TwoPassages(), "query": RunnablePassthrough()} | filtering
    assert kept(chain.invoke("Q")) == kept(await chain.ainvoke("Q")) == "Repairs take a week."
    names = [event["name"] async for event in chain.astream_events("Q", version="v2")]
    assert "filtering" in names


async def test_it_is_a_compressor(pi: PiClient) -> None:
    """Of LangChain's own retriever."""
    compressor = PiDocumentFilter(client=pi, min_score=0.0, top_k=1)
    retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=TwoPassages())
    assert kept(retriever.invoke("Q")) == kept(await retriever.ainvoke("Q")) == "Repairs take a week."


async def test_no_more_than_max_concurrency_are_scored_at_a_time() -> None:
    """Of many documents."""
    judge = CountingJudge(default=0.5, delay=0.002)
    async with embedded(judge=judge) as client:
        many = [Document(str(number)) for number in range(40)]
        assert len(await PiDocumentFilter(client=client, max_concurrency=3).acompress_documents(many, "Q")) == 40
    assert judge.peak == 3


async def test_cancelling_it_cancels_the_judge() -> None:
    """Nobody waits for scores that nobody wants."""
    judge = StuckJudge()
    async with embedded(judge=judge) as client:
        task = asyncio.create_task(PiDocumentFilter(client=client).acompress_documents(documents("abcd"), "Q"))
        assert await asyncio.to_thread(judge.called.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(judge.cancelled.wait, 10)


def test_threads_and_short_lived_loops_share_one(pi: PiClient) -> None:
    """As frameworks call it."""
    filtering = PiDocumentFilter(client=pi)
    with ThreadPoolExecutor(8) as pool:
        run = lambda _: asyncio.run(filtering.acompress_documents(documents("abcd"), "Q"))  # noqa: E731
        assert {kept(result) for result in pool.map(run, range(40))} == {"bdc"}


def test_its_client_stays_out_of_dumps(pi: PiClient) -> None:
    """And so does its key."""
    filtering = PiDocumentFilter(client=pi)
    assert "PiClient" not in repr(filtering) + filtering.model_dump_json()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"min_score": 2.0}, "min_score is 2.0"),
        ({"top_k": 0}, "top_k is 0"),
        ({"max_concurrency": 0}, "max_concurrency 0"),
        ({"unscored_documents": "ignore"}, "unscored_documents is 'ignore'"),
        ({"scoring_spec": []}, "scoring_spec: is empty"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    """When it is made."""
    with pytest.raises(PiUsageError, match=says):
        PiDocumentFilter(**options)


def test_wrong_inputs_and_a_missing_endpoint_are_errors(pi: PiClient) -> None:
    """Whatever is done about documents without a score."""
    with pytest.raises(PiUsageError, match="documents is missing"):
        PiDocumentFilter(client=pi).invoke({"query": "Q"})  # type: ignore[typeddict-item]
    with pytest.raises(PiUsageError, match="query is a dict"):
        PiDocumentFilter(client=pi).invoke({"query": {"q": "Q"}, "documents": documents("a")})  # type: ignore[typeddict-item]
    with pytest.raises(PiUsageError, match="WITHPI_API_KEY"):
        PiDocumentFilter().compress_documents(documents("a"), "Q")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (["Repairs take a week."], r"documents\[0\] is a str; .* Document\(page_content=text\)"),
        ([Document("a"), None], r"documents\[1\] is a NoneType"),
        ([{"page_content": "a"}], r"documents\[0\] is a dict"),
        (None, "documents is a NoneType; give a list"),
        (Document("a"), "documents is a Document; give a list"),
        ("Repairs take a week.", "documents is a str; give a list"),
        ({"page_content": "a"}, "documents is a dict; give a list"),
        (7, "documents is a int; give a list"),
    ],
)
async def test_what_is_no_list_of_documents_is_an_error(pi: PiClient, found: Any, says: str) -> None:
    """It names the field and what to give, sync and async, as a runnable and as a compressor."""
    filtering = PiDocumentFilter(client=pi)
    given: Any = {"query": "Q", "documents": found}
    with pytest.raises(PiUsageError, match=says):
        await filtering.ainvoke(given)
    with pytest.raises(PiUsageError, match=says):
        await asyncio.to_thread(filtering.invoke, given)
    with pytest.raises(PiUsageError, match=says):
        await filtering.acompress_documents(found, "Q")


async def test_documents_may_come_one_by_one(pi: PiClient) -> None:
    """From a generator, or in a tuple."""
    filtering = PiDocumentFilter(client=pi)
    results = [await filtering.acompress_documents(found, "Q") for found in (tuple(documents("ab")), documents("ab"))]
    one_by_one: Any = (document for document in documents("ab"))
    assert {kept(result) for result in [*results, await filtering.acompress_documents(one_by_one, "Q")]} == {"b"}
