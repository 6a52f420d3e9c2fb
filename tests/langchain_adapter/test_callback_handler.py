"""`PiScoreCallbackHandler` on real chains, agents, graphs and models: one score per answer, and counts that add up."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import subprocess
import sys
import time
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import PIIMiddleware, SummarizationMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel, FakeListLLM, FakeStreamingListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from langsmith import Client, traceable
from langsmith.run_helpers import get_current_run_tree, tracing_context
from live_models import ANSWER, TwoPassages, calls_tool, look_up, says, says_forever
from pydantic import BaseModel
from questions import POLITE

from pi_integrations import PiUsageError
from pi_integrations.background import BackgroundScore, BackgroundScorer, MemorySink
from pi_integrations.langchain import PiDocumentFilter, PiScoreCallbackHandler, RunCounts
from pi_integrations.models import compose_llm_input
from pi_integrations.testing import ScriptedJudge, embedded

PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{question}")])
ASKED = {"question": "How long?"}
ASKED_AGENT: Any = {"messages": [("user", "How long?")]}


class Live:
    """A handler whose scores can be looked at."""

    def __init__(self, scorer: BackgroundScorer, sink: MemorySink) -> None:
        assert scorer.flush(20)
        self.scorer = scorer
        self._sink = sink
        self._before = len(sink.scores)
        self.watch()

    def watch(self, **options: Any) -> PiScoreCallbackHandler:
        """A new handler in the place of the last one."""
        self.handler = PiScoreCallbackHandler(self.scorer, **options)
        return self.handler

    @property
    def config(self) -> Any:
        return {"callbacks": [self.handler]}

    @property
    def counts(self) -> RunCounts:
        """Of the handler, once they add up."""
        counts = self.handler.counts()
        ended = counts.submitted + counts.unanswered + counts.incomplete + counts.errors
        assert counts.runs == ended + counts.open
        return counts

    @property
    def scores(self) -> list[BackgroundScore]:
        assert self.scorer.flush(20)
        return self._sink.scores[self._before :]

    @property
    def exchanges(self) -> list[tuple[str, str]]:
        """What was scored."""
        return [(score.llm_input, score.llm_output) for score in self.scores]


@pytest.fixture(scope="module")
def scorer_and_sink() -> Iterator[tuple[BackgroundScorer, MemorySink]]:
    sink = MemorySink(max_scores=100_000)
    with embedded(judge=ScriptedJudge(default=0.5, record=False)) as client:
        with BackgroundScorer([{"question": POLITE}], client=client, sink=sink, max_queue=100_000) as scorer:
            yield scorer, sink


@pytest.fixture
def live(scorer_and_sink: tuple[BackgroundScorer, MemorySink]) -> Live:
    return Live(*scorer_and_sink)


def chain(*answers: str) -> Runnable[Any, str]:
    return PROMPT | says(*(answers or (ANSWER,))) | StrOutputParser()


async def drained(stream: AsyncIterator[Any]) -> list[Any]:
    return [part async for part in stream]


# What is read


def test_a_chain_gives_one_score(live: Live) -> None:
    """Of what it was asked and what it answered; the runs inside are part of it."""
    chain().invoke(ASKED, live.config)
    assert live.exchanges == [("How long?", ANSWER)]
    assert live.counts == RunCounts(runs=1, submitted=1)


async def test_a_model_with_fallbacks_gives_one_score(live: Live) -> None:
    """LangChain starts the inner run without telling whose it is."""
    model = says(*[ANSWER] * 4)
    runnable = model.with_fallbacks([model])
    runnable.invoke("How long?", live.config)
    await runnable.ainvoke("How long?", live.config)
    runnable.batch(["How long?"] * 2, live.config)
    assert len(live.scores) == 4
    assert live.counts == RunCounts(runs=4, submitted=4)


async def test_ainvoke_gives_one_score(live: Live) -> None:
    """As invoke does."""
    await chain().ainvoke(ASKED, live.config)
    assert live.exchanges == [("How long?", ANSWER)]


def test_a_streamed_chain_is_scored_whole(live: Live) -> None:
    """With the inputs that LangChain only tells at the end."""
    assert len(list(chain().stream(ASKED, live.config))) > 1
    assert live.exchanges == [("How long?", ANSWER)]


async def test_an_async_streamed_chain_is_scored_whole(live: Live) -> None:
    """Also through `astream_events`, which attaches an inline handler of its own."""
    assert len(await drained(chain().astream(ASKED, live.config))) > 1
    await drained(chain().astream_events(ASKED, live.config, version="v2"))
    assert live.exchanges == [("How long?", ANSWER)] * 2
    assert live.counts == RunCounts(runs=2, submitted=2)


def test_nothing_is_scored_before_a_stream_was_read(live: Live) -> None:
    """A user who reads slowly is waited for."""
    stream = chain().stream(ASKED, live.config)
    next(stream)
    assert live.counts == RunCounts(runs=1, open=1)
    list(stream)
    assert live.counts == RunCounts(runs=1, submitted=1)


def test_a_chat_model_is_a_run_of_its_own(live: Live) -> None:
    """With the system prompt and the history of its messages, invoked and streamed."""
    asked: Any = [("system", "Be brief."), ("human", "Hi"), ("ai", "Hello!"), ("human", "How long?")]
    says(ANSWER).invoke(asked, live.config)
    list(says(ANSWER).stream(asked, live.config))
    history = [("user", "Hi"), ("assistant", "Hello!")]
    expected = compose_llm_input("How long?", system_prompt="Be brief.", history=history)
    assert live.exchanges == [(expected, ANSWER)] * 2


async def test_a_plain_model_is_a_run_of_its_own(live: Live) -> None:
    """Sync, async and streamed."""
    FakeListLLM(responses=[ANSWER]).invoke("How long?", live.config)
    await FakeListLLM(responses=[ANSWER]).ainvoke("How long?", live.config)
    await drained(FakeStreamingListLLM(responses=[ANSWER]).astream("How long?", live.config))
    assert live.exchanges == [("How long?", ANSWER)] * 3


async def test_another_inline_handler_does_not_hide_a_plain_model(live: Live) -> None:
    """LangChain skips `on_llm_start` of handlers that are not inline when one is, such as its tracer."""

    class Inline(BaseCallbackHandler):
        run_inline = True

    config: Any = {"callbacks": [Inline(), live.handler]}
    await FakeListLLM(responses=[ANSWER]).ainvoke("How long?", config)
    assert live.exchanges == [("How long?", ANSWER)]


def test_an_agent_gives_one_score_with_what_its_tools_returned(live: Live) -> None:
    """The step that calls the tool is no answer, and no run of its own."""
    agent = create_agent(says(calls_tool("One moment."), ANSWER), tools=[look_up])
    agent.invoke(ASKED_AGENT, live.config)
    assert live.exchanges == [(compose_llm_input("How long?", contexts=["Repairs take a week."]), ANSWER)]
    assert live.counts == RunCounts(runs=1, submitted=1)


@pytest.mark.parametrize("mode", ["values", "updates", "messages"])
async def test_a_streamed_agent_gives_one_score(live: Live, mode: Any) -> None:
    """Sync and async, whatever is streamed."""
    agent = create_agent(says(calls_tool(), ANSWER, calls_tool(), ANSWER), tools=[look_up])
    list(agent.stream(ASKED_AGENT, live.config, stream_mode=mode))
    await drained(agent.astream(ASKED_AGENT, live.config, stream_mode=mode))
    assert [answer for _, answer in live.exchanges] == [ANSWER, ANSWER]
    assert live.counts == RunCounts(runs=2, submitted=2)


def test_an_interrupted_agent_is_scored_when_it_was_resumed(live: Live) -> None:
    """Until then there is no answer; the state holds what was asked."""

    @tool("look_up")
    def ask_first(what: str) -> str:
        """Asks a person."""
        return f"{what} {interrupt('May I?')}"

    agent = create_agent(says(calls_tool(), ANSWER), tools=[ask_first], checkpointer=InMemorySaver())
    config: Any = {**live.config, "configurable": {"thread_id": "1"}}
    agent.invoke(ASKED_AGENT, config)
    assert live.counts == RunCounts(runs=1, unanswered=1)
    agent.invoke(Command(resume="yes"), config)
    assert live.exchanges == [(compose_llm_input("How long?", contexts=["repairs yes"]), ANSWER)]


def test_retrieved_documents_become_contexts(live: Live) -> None:
    """Of a chain that hands on a text alone."""
    rag = {"context": TwoPassages(), "question": RunnablePassthrough()} | PROMPT | says(ANSWER) | StrOutputParser()
    rag.invoke("How long?", live.config)
    passages = ["Repairs take a week.", "We sell shoes."]
    assert live.exchanges == [(compose_llm_input("How long?", contexts=passages), ANSWER)]


def first_only(found: list[Document]) -> list[Document]:
    return found[:1]


class Chooses(BaseRetriever):
    """Asks others, also through a chain, and keeps the first passage."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        inside: Any = {"callbacks": run_manager.get_child()}
        (TwoPassages() | RunnableLambda(first_only)).invoke(query, inside)
        return TwoPassages().invoke(query, inside)[:1]


RETRIEVERS: dict[str, tuple[Runnable[Any, Any], list[str]]] = {
    "one around others": (Chooses(), ["Repairs take a week."]),
    "one around one that chooses": (
        ContextualCompressionRetriever(
            base_compressor=DocumentCompressorPipeline(transformers=[]), base_retriever=Chooses()
        ),
        ["Repairs take a week."],
    ),
    "one with fallbacks, after one around others": (
        Chooses() | RunnableLambda(lambda found: found[0].page_content) | TwoPassages().with_fallbacks([Chooses()]),
        ["Repairs take a week.", "We sell shoes."],
    ),
    "the same beside each other": (
        RunnableParallel(first=TwoPassages(), second=TwoPassages(), third=Chooses()),
        ["Repairs take a week.", "We sell shoes."],
    ),
}


@pytest.mark.parametrize(("retriever", "passages"), RETRIEVERS.values(), ids=RETRIEVERS)
async def test_what_a_retriever_gave_counts_once_and_not_what_it_chose_from(
    live: Live, retriever: Runnable[Any, Any], passages: list[str]
) -> None:
    """The model saw no more."""
    rag = {"found": retriever, "question": RunnablePassthrough()} | PROMPT | says(ANSWER, ANSWER) | StrOutputParser()
    rag.invoke("How long?", live.config)
    await rag.ainvoke("How long?", live.config)
    assert live.exchanges == [(compose_llm_input("How long?", contexts=passages), ANSWER)] * 2


def test_a_retriever_that_fails_inside_another_leaves_no_trace(live: Live) -> None:
    """What is found later is no part of it."""

    class Fails(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
            Chooses().invoke(query, {"callbacks": run_manager.get_child()})
            raise ConnectionError("gone")

    rag = {"context": Fails().with_fallbacks([Chooses()]), "question": RunnablePassthrough()} | PROMPT | says(ANSWER)
    rag.invoke("How long?", live.config)
    assert live.exchanges == [(compose_llm_input("How long?", contexts=["Repairs take a week."]), ANSWER)]


def test_a_chain_that_is_tried_again_has_each_passage_once(live: Live) -> None:
    """Though its retriever ran twice."""
    tries = iter([1, 0])

    def down_at_first(prompt: Any) -> str:
        if next(tries):
            raise ConnectionError("gone")
        return ANSWER

    rag = {"context": TwoPassages(), "question": RunnablePassthrough()} | RunnableLambda(down_at_first)
    rag.with_retry(wait_exponential_jitter=False).invoke("How long?", live.config)
    passages = ["Repairs take a week.", "We sell shoes."]
    assert live.exchanges == [(compose_llm_input("How long?", contexts=passages), ANSWER)]


def test_contexts_in_the_outputs_come_before_what_was_retrieved(live: Live) -> None:
    """A chain that chooses among the documents says which."""
    chosen = RunnableLambda(lambda given: {"answer": ANSWER, "context": TwoPassages().invoke("")[:1]})
    (TwoPassages() | chosen).invoke("How long?", live.config)
    assert live.exchanges == [(compose_llm_input("How long?", contexts=["Repairs take a week."]), ANSWER)]


@pytest.mark.parametrize("asked", ["How long?", [HumanMessage("How long?")]], ids=["text", "messages"])
def test_messages_may_answer_what_is_no_state(live: Live, asked: Any) -> None:
    """A function that is given a question or messages, and returns a state."""
    RunnableLambda(lambda _: {"messages": [AIMessage(ANSWER)]}).invoke(asked, live.config)
    assert live.exchanges == [("How long?", ANSWER)]


def test_an_answer_written_into_the_inputs_is_an_answer(live: Live) -> None:
    """By a function that returns what it was given; one that adds nothing gives none."""

    def reply(state: dict[str, str]) -> dict[str, str]:
        state["answer"] = ANSWER
        return state

    RunnableLambda(reply).invoke(dict(ASKED), live.config)
    RunnableLambda(lambda state: dict(state)).invoke(dict(ASKED), live.config)
    assert live.exchanges == [("How long?", ANSWER)]
    assert live.counts == RunCounts(runs=2, submitted=1, unanswered=1)


def test_keys_say_which_entry_is_meant(live: Live) -> None:
    """As in `PiRunEvaluator`."""
    live.watch(input_key="topic", output_key=lambda outputs: outputs["draft"], context_key="facts")
    given = {"topic": "Repairs", "tone": "kind"}
    RunnableLambda(lambda _: {"draft": ANSWER, "n": 1, "facts": ["F"]}).invoke(given, live.config)
    assert live.exchanges == [(compose_llm_input("Repairs", contexts=["F"]), ANSWER)]


def test_name_tags_and_ids_go_with_the_score(live: Live) -> None:
    """The run's metadata with its ids, and the id of the message under the parser."""
    run_id = uuid4()
    model = says(AIMessage(ANSWER, id="message-1"))
    config: Any = {**live.config, "run_name": "support", "tags": ["eu"], "metadata": {"user": "u1"}, "run_id": run_id}
    (PROMPT | model | StrOutputParser()).invoke(ASKED, config)
    (score,) = live.scores
    assert (score.name, tuple(score.tags)) == ("support", ("eu",))
    ids = {"run_id": str(run_id), "trace_id": str(run_id), "response_id": "message-1"}
    assert score.metadata == {"user": "u1", **ids}


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/shoe.png"}}


@pytest.mark.parametrize(
    ("asked", "question"),
    [
        ("How long?", "How long?"),
        (["How long?"], "How long?"),
        (("user", "How long?"), "How long?"),
        ([["user", "How long?"]], "How long?"),
        ([("human", [{"type": "text", "text": "How long?"}, PICTURE])], "How long?[image_url]"),
        ([HumanMessage("Hi"), "How long?"], compose_llm_input("How long?", history=[("user", "Hi")])),
    ],
)
def test_whatever_langchain_takes_for_messages_is_read_as_such(live: Live, asked: Any, question: str) -> None:
    """Texts, pairs, and lists that mix them; what was asked is in the exchange once."""
    create_agent(says(ANSWER)).invoke({"messages": asked}, live.config)
    assert live.exchanges == [(question, ANSWER)]


def test_a_summary_of_the_conversation_is_not_what_the_user_asked(live: Live) -> None:
    """It stands in the place of the question in the agent's state, and is what came before it."""
    summaries = SummarizationMiddleware(
        says_forever(lambda: [AIMessage("They look things up.")]), trigger=("messages", 4), keep=("messages", 2)
    )
    model = says(calls_tool(call_id="1"), calls_tool(call_id="2"), ANSWER)
    agent = create_agent(model, tools=[look_up], middleware=[summaries])
    state = agent.invoke(ASKED_AGENT, live.config)
    history = [("summary", state["messages"][0].text)]
    assert "They look things up." in history[0][1]
    expected = compose_llm_input("How long?", history=history, contexts=["Repairs take a week."])
    assert live.exchanges == [(expected, ANSWER)]


def test_what_a_guardrail_hid_from_the_model_is_not_scored(live: Live) -> None:
    """The question is the one in the agent's state, where the address is no more."""
    agent = create_agent(says(ANSWER), middleware=[PIIMiddleware("email", strategy="redact")])
    state = agent.invoke({"messages": [("user", "How long? I am ann@example.com")]}, live.config)
    assert live.exchanges == [(state["messages"][0].text, ANSWER)]
    assert "ann@" not in state["messages"][0].text


async def test_inputs_are_scored_as_they_were_when_the_run_began(live: Live) -> None:
    """An application may go on to use the same list, or mapping, while it reads the stream."""
    messages: list[Any] = [HumanMessage("How long?")]
    asked: Any = {"messages": messages}
    for model, given in ((says(ANSWER), messages), (create_agent(says(ANSWER)), asked)):
        stream = model.stream(given, live.config)
        next(stream)
        messages.append(HumanMessage("And how much?"))
        list(stream)
        messages.pop()
    stream = create_agent(says(ANSWER)).astream(asked, live.config)
    await anext(stream)
    asked["messages"] = [HumanMessage("And how much?")]
    await drained(stream)
    assert live.exchanges == [("How long?", ANSWER)] * 3


def test_what_a_retriever_gives_bit_by_bit_is_left_to_the_chain(live: Live) -> None:
    """Reading it would leave nothing for the application."""

    class BitByBit(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> Any:
            return (Document(text) for text in ("It takes ", "a week."))

    found = RunnableLambda(lambda asked: "".join(each.page_content for each in BitByBit().invoke(asked)))
    assert found.invoke("How long?", live.config) == ANSWER
    assert live.exchanges == [("How long?", ANSWER)]


# Which runs count


async def test_batches_and_threads_give_a_score_each(live: Live) -> None:
    """In `batch`, `abatch`, and eight threads with loops of their own."""
    many = PROMPT | FakeListChatModel(responses=[ANSWER]) | StrOutputParser()
    many.batch([ASKED] * 10, live.config)
    await many.abatch([ASKED] * 10, live.config)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: asyncio.run(many.ainvoke(ASKED, live.config)), range(40)))
    assert live.exchanges == [("How long?", ANSWER)] * 60
    assert live.counts == RunCounts(runs=60, submitted=60)


def test_chains_inside_chains_and_agents_inside_tools_are_part_of_the_root(live: Live) -> None:
    """One user, one answer."""
    inner = chain("A week, I think.")
    outer = RunnableLambda(lambda asked: inner.invoke(asked)) | says(ANSWER)
    outer.invoke(ASKED, live.config)
    assert live.exchanges == [("How long?", ANSWER)]
    assert live.counts == RunCounts(runs=1, submitted=1)


def test_prompts_parsers_tools_and_retrievers_make_no_answers(live: Live) -> None:
    """Neither they nor what runs inside a tool that was called directly."""
    PROMPT.invoke(ASKED, live.config)
    StrOutputParser().invoke(AIMessage(ANSWER), live.config)
    TwoPassages().invoke("How long?", live.config)

    @tool
    def ask(question: str) -> str:
        """Asks."""
        return chain().invoke({"question": question})

    assert ask.invoke(ASKED, live.config) == ANSWER
    assert live.counts == RunCounts()


@pytest.mark.parametrize(
    "nothing",
    [None, "", [], {}, {"messages": [HumanMessage("How long?")]}, {"answer": None}, {"output": calls_tool()}],
    ids=str,
)
def test_an_empty_answer_and_a_call_of_tools_are_unanswered(live: Live, nothing: Any) -> None:
    """They ended well, and there is nothing to score."""
    says("").invoke("How long?", live.config)
    says(calls_tool("One moment.")).invoke("How long?", live.config)
    RunnableLambda(lambda _: nothing).invoke("How long?", live.config)
    assert live.counts == RunCounts(runs=3, unanswered=3)


@pytest.mark.parametrize(("number", "text"), [(42, "42"), (0, "0"), (0.0, "0.0"), (False, "false")])
def test_a_number_is_an_answer(live: Live, number: Any, text: str) -> None:
    """Zero is one."""
    RunnableLambda(lambda _: number).invoke("How many?", live.config)
    assert live.exchanges == [("How many?", text)]


async def test_documents_are_no_answer(live: Live) -> None:
    """Those that a filter keeps, also none, and those that a chain returns."""
    with embedded(judge=ScriptedJudge(default=0.5)) as client:
        given: Any = {"query": "How long?", "documents": TwoPassages().invoke("")}
        for min_score in (0.1, 0.9):
            PiDocumentFilter(client=client, min_score=min_score).invoke(given, live.config)
        await (TwoPassages() | RunnableLambda(lambda found: found[:1])).ainvoke("How long?", live.config)
    assert live.counts == RunCounts(runs=3, unanswered=3)


def test_level_llm_scores_every_answer_of_a_model(live: Live) -> None:
    """Inside chains and agents too; a step that calls tools is unanswered."""
    live.watch(level="llm")
    agent = create_agent(says(calls_tool(), ANSWER), tools=[look_up])
    agent.invoke(ASKED_AGENT, live.config)
    chain().invoke(ASKED, live.config)
    assert [answer for _, answer in live.exchanges] == [ANSWER, ANSWER]
    assert live.counts == RunCounts(runs=3, submitted=2, unanswered=1)


def test_named_runs_are_scored_wherever_they_are(live: Live) -> None:
    """And of those inside each other, the outermost."""
    live.watch(level=["answering"])
    named = chain().with_config(run_name="answering")
    (RunnableLambda(lambda asked: named.invoke(asked)) | RunnableLambda(str.upper)).invoke(ASKED, live.config)
    nested = RunnableLambda(lambda asked: chain().with_config(run_name="answering").invoke(asked))
    nested.with_config(run_name="answering").invoke(ASKED, live.config)
    assert live.exchanges == [("How long?", ANSWER)] * 2


def test_work_that_outlives_its_run_is_no_answer(live: Live) -> None:
    """A task that a chain leaves behind, such as naming the conversation."""

    async def main() -> None:
        left: list[asyncio.Task[Any]] = []

        async def later() -> None:
            await asyncio.sleep(0.02)
            await chain("A title.").ainvoke(ASKED)

        async def answer(_: Any) -> str:
            left.append(asyncio.create_task(later()))
            return ANSWER

        await RunnableLambda(answer).ainvoke("How long?", live.config)
        await left[0]

    asyncio.run(main())
    assert live.exchanges == [("How long?", ANSWER)]


async def test_what_a_worker_does_for_later_requests_is_scored(live: Live) -> None:
    """Though the first request started it, so that it keeps that one's context."""
    requests: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()
    workers: list[asyncio.Task[None]] = []

    async def work() -> None:
        while True:
            request = await requests.get()
            model = says(ANSWER)
            request.set_result(await model.with_fallbacks([model]).ainvoke("How long?", live.config))

    async def start(_: Any) -> str:
        workers.append(asyncio.create_task(work()))
        return "Started."

    await RunnableLambda(start).ainvoke("Start!", live.config)
    for _ in range(3):
        request = asyncio.get_running_loop().create_future()
        await requests.put(request)
        await request
    workers[0].cancel()
    assert live.exchanges == [("Start!", "Started."), *[("How long?", ANSWER)] * 3]


def test_a_root_inside_a_langsmith_trace_is_still_a_root(live: Live) -> None:
    """`@traceable` gives it a parent that no callback ever saw; the trace is the parent's."""
    trace: list[str] = []

    @traceable
    def application() -> str:
        tree = get_current_run_tree()
        trace.append(str(tree.trace_id) if tree else "")
        return chain().invoke(ASKED, live.config)

    nowhere = Client(api_url="http://localhost:1", auto_batch_tracing=False, tracing_sampling_rate=0.0)
    with tracing_context(enabled="local", client=nowhere):
        application()
    (score,) = live.scores
    assert score.metadata["trace_id"] == trace[0] != score.metadata["run_id"]
    assert live.counts == RunCounts(runs=1, submitted=1)


# Streams that are not read to the end


def test_a_closed_sync_stream_is_incomplete(live: Live) -> None:
    """Though LangChain reports the part that was read as the output of the chain."""
    stream = chain().stream(ASKED, live.config)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert live.counts == RunCounts(runs=1, incomplete=1)


def test_a_closed_stream_without_runs_inside_is_incomplete(live: Live) -> None:
    """A chain of one step, which shows nothing but its own end."""

    def words(_: Iterator[Any]) -> Iterator[str]:
        yield from ("It ", "takes ", "a week.")

    whole, part = (RunnableGenerator(words).stream("How long?", live.config) for _ in range(2))
    assert "".join(whole) == ANSWER
    next(part)
    part.close()  # type: ignore[attr-defined]
    assert live.exchanges == [("How long?", ANSWER)]
    assert live.counts == RunCounts(runs=2, submitted=1, incomplete=1)


def test_a_stream_that_nobody_reads_on_is_incomplete(live: Live) -> None:
    """Collected, not closed."""
    stream = chain().stream(ASKED, live.config)
    next(stream)
    del stream
    gc.collect()
    assert live.counts == RunCounts(runs=1, incomplete=1)


@pytest.mark.parametrize("pieces", [1, 2])
async def test_a_closed_stream_with_fallbacks_is_incomplete(live: Live, pieces: int) -> None:
    """After its first piece LangChain ends no run, and a chain inside reports its part as the whole."""
    for inner in (says(*[ANSWER] * 4), chain(*[ANSWER] * 4)):
        runnable: Any = inner.with_fallbacks([inner])
        asked = ASKED if inner.get_name() == "RunnableSequence" else "How long?"
        assert len(list(runnable.stream(asked, live.config))) > 1
        stream = runnable.stream(asked, live.config)
        _ = [next(stream) for _ in range(pieces)]
        stream.close()
        astream = runnable.astream(asked, live.config)
        _ = [await anext(astream) for _ in range(pieces)]
        await astream.aclose()
        await drained(runnable.astream(asked, live.config))
    await asyncio.sleep(0.01)
    assert [answer for _, answer in live.exchanges] == [ANSWER] * 4
    assert live.counts == RunCounts(runs=8, submitted=4, incomplete=4)


def test_a_stream_with_fallbacks_that_nobody_reads_on_is_incomplete(live: Live) -> None:
    """Whatever it streams: here, something that makes no runs; until then it is open."""

    class Words(Runnable[Any, str]):
        def invoke(self, input: Any, config: Any = None, **options: Any) -> str:
            return ANSWER

        def stream(self, input: Any, config: Any = None, **options: Any) -> Iterator[str]:
            yield from ANSWER

    stream = Words().with_fallbacks([Words()]).stream("How long?", live.config)
    next(stream)
    gc.collect()
    assert live.counts == RunCounts(runs=1, open=1)
    del stream
    gc.collect()
    assert live.counts == RunCounts(runs=1, incomplete=1)


@dataclass(frozen=True)
class Streamed:
    """Something that streams, and what it is asked."""

    name: str
    make: Callable[[], Runnable[Any, Any]]
    asked: Any


STREAMED = [
    Streamed("chain", lambda: chain(), ASKED),
    Streamed("model", lambda: says(ANSWER), "How long?"),
    Streamed("agent", lambda: create_agent(says(calls_tool(), ANSWER), tools=[look_up]), ASKED_AGENT),
]


@pytest.mark.parametrize("what", STREAMED, ids=lambda what: what.name)
async def test_closed_streams_are_incomplete(live: Live, what: Streamed) -> None:
    """Chains, models and agents, sync and async."""
    stream: Any = what.make().stream(what.asked, live.config)
    next(stream)
    stream.close()
    assert live.counts == RunCounts(runs=1, incomplete=1)
    astream: Any = what.make().astream(what.asked, live.config)
    await anext(astream)
    await astream.aclose()
    await asyncio.sleep(0.01)  # the loop closes the streams inside a closed one in tasks of their own
    assert live.counts == RunCounts(runs=2, incomplete=2)


async def test_a_cancelled_batch_that_would_be_tried_again_is_incomplete(live: Live) -> None:
    """LangChain gives the cancellation as the output of each run."""

    async def wait(_: str) -> str:
        await asyncio.sleep(60)
        return ANSWER

    retried = RunnableLambda(wait).with_retry(stop_after_attempt=2)
    task = asyncio.create_task(retried.abatch(["How long?"] * 2, live.config))
    await asyncio.sleep(0.2)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert live.counts == RunCounts(runs=2, incomplete=2)


async def test_a_cancelled_run_is_incomplete(live: Live) -> None:
    """Also inside a tool, whose run LangChain never closes; nothing stays open."""
    waiting = asyncio.Event()

    async def wait(what: str) -> str:
        """Waits."""
        waiting.set()
        await asyncio.sleep(60)
        return what

    wait.__name__ = "look_up"
    agent = create_agent(says(calls_tool()), tools=[wait])
    task = asyncio.create_task(agent.ainvoke(ASKED_AGENT, live.config))
    await asyncio.wait_for(waiting.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert live.counts == RunCounts(runs=1, incomplete=1)
    assert len(live.handler._runs) == 0


class Hangs(GenericFakeChatModel):
    """A chat model of a server that does not answer, in coroutines."""

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(60)


class HangsPlain(FakeListLLM):
    """The same for a plain model."""

    async def _acall(self, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(60)


@pytest.mark.parametrize("level", ["root", "llm"])
@pytest.mark.parametrize("model", [Hangs(messages=iter(())), HangsPlain(responses=[])], ids=["chat", "plain"])
async def test_a_cancelled_model_is_incomplete(live: Live, model: Any, level: str) -> None:
    """LangChain does not say that a chat model was; by itself, in a batch and in a chain, and nothing stays open."""
    config: Any = {"callbacks": [live.watch(level=level)]}
    calls = [
        lambda: model.ainvoke("How long?", config),
        lambda: model.abatch(["How long?"] * 2, config),
        lambda: (PROMPT | model).ainvoke(ASKED, config),
        lambda: model.with_fallbacks([says(ANSWER)]).ainvoke("How long?", config),
    ]
    for call in calls:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call(), 0.05)
    gc.collect()
    assert live.counts == RunCounts(runs=5, incomplete=5)
    assert len(live.handler._runs) == 0


@pytest.mark.parametrize("make", [FakeListChatModel, FakeListLLM])
async def test_a_model_that_is_not_cancelled_is_counted_once(live: Live, make: Any) -> None:
    """Answered, failed, and closed streams, though all of them are gone in the end."""
    await make(responses=[ANSWER]).ainvoke("How long?", live.config)
    await make(responses=[ANSWER] * 2).abatch(["How long?"] * 2, live.config)
    with pytest.raises(IndexError):
        await make(responses=[]).ainvoke("How long?", live.config)
    gc.collect()
    assert len(live.scores) == 3
    assert live.counts == RunCounts(runs=4, submitted=3, incomplete=1)


def test_a_failed_run_is_incomplete_and_raises_its_own_error(live: Live) -> None:
    """In a chain, a model, and mid-stream."""

    def broken(_: Iterator[Any]) -> Iterator[str]:
        yield "It "
        raise ConnectionError("gone")

    for failing in (RunnableLambda(lambda _: 1 / 0), says()):
        with pytest.raises((ZeroDivisionError, RuntimeError, StopIteration)):
            failing.invoke("How long?", live.config)
    with pytest.raises(ConnectionError, match="gone"):
        list(RunnableGenerator(broken).stream("How long?", live.config))
    assert live.counts == RunCounts(runs=3, incomplete=3)


# Faults


@pytest.mark.parametrize("value", [{"draft": "D", "title": "T"}, array("i", [0, 1]), numpy.arange(2)], ids=repr)
def test_what_cannot_be_read_is_counted_and_logged_once(
    live: Live, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The application does not notice; the warning says which argument to pass."""
    unclear = RunnableLambda(lambda _: value)
    with caplog.at_level(logging.WARNING):
        results = [unclear.invoke("How long?", live.config) for _ in range(3)]
    assert all(result is value for result in results)
    assert live.counts == RunCounts(runs=3, errors=3)
    assert len(caplog.records) == 1
    assert "output_key=" in caplog.text


def test_a_callback_that_goes_wrong_is_counted_and_logged_apart(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    """As with a version of LangChain that calls it with something else; the run it belongs to is not scored."""
    handler = live.watch(output_key=lambda outputs: outputs.draft)
    RunnableLambda(lambda _: {"n": 1}).invoke("How long?", live.config)
    run_id = uuid4()
    handler.on_chain_start({}, "How long?", run_id=run_id)
    handler.on_llm_start({}, ["How long?"], run_id=(inner := uuid4()), parent_run_id=run_id)
    handler.on_llm_end(object(), run_id=inner)
    handler.on_chain_end(ANSWER, run_id=run_id)
    assert live.counts == RunCounts(runs=2, errors=2)
    handler.on_interrupt(object())
    assert live.counts == RunCounts(runs=3, errors=3)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "An answer was not scored",
        "A callback failed, and an answer was not scored",
    ]


def test_a_handler_needs_no_langgraph() -> None:
    """Where it is installed, making one is enough to be told of interrupts; importing loads nothing."""
    code = """
import sys
sys.modules["langgraph"] = None
from langchain_core.runnables import RunnableLambda
from pi_integrations import embedded
from pi_integrations.background import BackgroundScorer
from pi_integrations.langchain import PiScoreCallbackHandler
with embedded(judge="baseline") as client, BackgroundScorer([{"question": "Is it polite?"}], client=client) as scorer:
    handler = PiScoreCallbackHandler(scorer)
    RunnableLambda(lambda _: "A week.").invoke("How long?", {"callbacks": [handler]})
print(handler.counts().submitted)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_ten_thousand_runs_leave_nothing_behind(live: Live) -> None:
    """Finished, failed and cut off alike."""

    def sometimes(asked: str) -> str:
        if asked == "fail":
            raise ValueError
        return "" if asked == "empty" else ANSWER

    runnable = RunnableLambda(sometimes)
    kinds = ["fail", "empty", "How long?", "How long?"]
    for number in range(10_000):
        try:
            runnable.invoke(kinds[number % 4], live.config)
        except ValueError:
            continue
    assert live.counts == RunCounts(runs=10_000, submitted=5_000, unanswered=2_500, incomplete=2_500)
    assert len(live.handler._runs) == 0
    assert live.handler._runs.remembered <= 20_000


def test_runs_that_never_end_are_given_up_oldest_first(live: Live) -> None:
    """No more than `max_open_runs` are kept, and what still happens inside one given up is no answer."""
    handler = live.watch(max_open_runs=2)
    ids = [uuid4() for _ in range(3)]
    for run_id in ids:
        handler.on_chain_start({}, "How long?", run_id=run_id)
    handler.on_chain_start({}, "inside", run_id=uuid4(), parent_run_id=ids[0])
    for run_id in ids:
        handler.on_chain_end(ANSWER, run_id=run_id)
    assert live.counts == RunCounts(runs=3, submitted=2, incomplete=1)
    assert {score.metadata["run_id"] for score in live.scores} == {str(run_id) for run_id in ids[1:]}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_without_the_parents_runs(live: Live) -> None:
    """Their ends come in the parent alone."""
    stream = chain().stream(ASKED, live.config)
    next(stream)
    child = os.fork()
    if child == 0:
        is_empty = False
        try:
            is_empty = live.counts == RunCounts() and len(live.handler._runs) == 0
        finally:
            os._exit(0 if is_empty else 1)
    assert os.waitpid(child, 0)[1] == 0
    list(stream)
    assert live.counts == RunCounts(runs=1, submitted=1)


@pytest.mark.parametrize("frozen", [True, False])
async def test_a_server_that_hangs_or_fails_costs_the_application_nothing(frozen: bool) -> None:
    """A hundred runs, sync and async, while no score comes back."""

    def refuse(*_: Any) -> float:
        raise ConnectionError("down")

    judge = ScriptedJudge(default=0.5, delay=60.0) if frozen else ScriptedJudge(refuse)
    async with embedded(judge=judge) as client:
        scorer = BackgroundScorer([{"question": POLITE}], client=client, max_queue=50)
        handler = PiScoreCallbackHandler(scorer)
        runnable, config = RunnableLambda(lambda _: ANSWER), {"callbacks": [handler]}
        started = time.perf_counter()
        for _ in range(50):
            runnable.invoke("How long?", config)  # type: ignore[arg-type]
            await runnable.ainvoke("How long?", config)  # type: ignore[arg-type]
        assert time.perf_counter() - started < 20.0
        assert handler.counts() == RunCounts(runs=100, submitted=100)
        scorer.close(0.0)
        counts = scorer.counts()
    assert counts.submitted == counts.failed + counts.dropped == 100


@pytest.mark.parametrize("options", [{"level": "chain"}, {"max_open_runs": 0}])
def test_wrong_options_are_refused(live: Live, options: dict[str, Any]) -> None:
    """When the handler is made."""
    with pytest.raises(PiUsageError, match="; "):
        live.watch(**options)


def test_tool_results_given_back_directly_are_the_answer(live: Live) -> None:
    """Of an agent whose tool returns to the user: no contexts, and the id of the message that called the tool."""

    @tool("look_up", return_direct=True)
    def reply(what: str) -> str:
        """Replies."""
        return f"{what.capitalize()} take a week."

    state = create_agent(says(calls_tool()), tools=[reply]).invoke(ASKED_AGENT, live.config)
    assert live.exchanges == [("How long?", "Repairs take a week.")]
    assert live.scores[0].metadata["response_id"] == state["messages"][1].id


class Reply(BaseModel):
    """A structured answer."""

    days: int


def replies_by_tool(*others: Any) -> AIMessage:
    """A message that gives the answer as the arguments of a tool, and calls others."""
    return AIMessage("", tool_calls=[{"name": "Reply", "args": {"days": 7}, "id": "reply-1"}, *others])


def test_a_structured_answer_is_scored_as_json(live: Live) -> None:
    """Not as LangChain's note about it; with what tools returned, and the id of the model's message."""
    model = says(calls_tool(), replies_by_tool())
    agent = create_agent(model, tools=[look_up], response_format=ToolStrategy(Reply))
    state = agent.invoke(ASKED_AGENT, live.config)
    assert live.exchanges == [(compose_llm_input("How long?", contexts=["Repairs take a week."]), '{"days":7}')]
    assert live.scores[0].metadata["response_id"] == state["messages"][-2].id


def test_a_structured_answer_beside_a_call_of_a_tool_is_scored_as_json(live: Live) -> None:
    """LangChain's note comes before the tool's result then."""
    also = {"name": "look_up", "args": {"what": "repairs"}, "id": "call-1"}
    agent = create_agent(says(replies_by_tool(also)), tools=[look_up], response_format=ToolStrategy(Reply))
    agent.invoke(ASKED_AGENT, live.config)
    assert live.exchanges == [(compose_llm_input("How long?", contexts=["Repairs take a week."]), '{"days":7}')]


def test_a_structured_answer_that_is_the_models_text_is_scored_once(live: Live) -> None:
    """As providers give it."""
    agent = create_agent(says('{"days": 7}'), response_format=ProviderStrategy(Reply))
    agent.invoke(ASKED_AGENT, live.config)
    assert live.exchanges == [("How long?", '{"days":7}')]


def test_an_output_key_comes_before_the_structured_answer(live: Live) -> None:
    """It says what to score."""
    live.watch(output_key=lambda outputs: f"{outputs['structured_response'].days} days")
    agent = create_agent(says(replies_by_tool()), response_format=ToolStrategy(Reply))
    agent.invoke(ASKED_AGENT, live.config)
    assert live.exchanges == [("How long?", "7 days")]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_of_what_holds_a_handler_share_it(live: Live, copied: Callable[[Any], Any]) -> None:
    """A config, a chain bound to one, and a model; each copy's answers count."""
    model = FakeListChatModel(responses=[ANSWER], callbacks=[live.handler])
    held: list[Runnable[Any, Any]] = [chain().with_config(live.config), model, model.model_copy(deep=True)]
    for each in held:
        copied(each).invoke(ASKED if each is held[0] else "How long?")
    chain().invoke(ASKED, copied(live.config))
    assert len(live.scores) == 4
    assert live.counts == RunCounts(runs=4, submitted=4)


def test_many_answers_of_one_agent_are_a_score_each(live: Live) -> None:
    """Forty conversations in eight threads."""
    agent = create_agent(says_forever(lambda: [AIMessage(ANSWER)]), tools=[look_up])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: agent.invoke(ASKED_AGENT, live.config), range(40)))
    assert live.exchanges == [("How long?", ANSWER)] * 40
