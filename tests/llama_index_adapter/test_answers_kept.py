"""Answers are read after the call has returned: what the application does to them in the meantime changes no score."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from in_memory_engines import ANSWER, PASSAGES, Talker, query_engine
from live_answers import ASKED, FOUND, TOLD, Watched, function_agent, says, watching
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

from pi_integrations import AsyncPiClient
from pi_integrations.llama_index import AnswerCounts
from pi_integrations.models import compose_llm_input

pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore::pydantic.warnings.PydanticDeprecatedSince211",
    "ignore:is_running called from within a step:DeprecationWarning",
)

EARLIER = [ChatMessage(role="user", content="Hello."), ChatMessage(role="assistant", content="Good day.")]
HISTORY = [("user", "Hello."), ("assistant", "Good day.")]


@pytest.fixture
def watched(client: AsyncPiClient) -> Iterator[Watched]:
    with watching(client) as watched:
        yield watched


@contextmanager
def nothing_read(watched: Watched) -> Iterator[None]:
    """Nothing is read before the block is over."""
    over = threading.Event()
    watched.scorer.defer(over.wait, 10)
    try:
        yield
    finally:
        over.set()


def scored(watched: Watched) -> list[tuple[str, str]]:
    return [(score.llm_input, score.llm_output) for score in watched.scores()]


def chat(llm: Any) -> SimpleChatEngine:
    return SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults(chat_history=list(EARLIER)))


def test_a_response_is_scored_as_it_was_returned(watched: Watched) -> None:
    """Its text and its source nodes."""
    with nothing_read(watched):
        response: Any = query_engine().query(ASKED)
        response.response = "[removed]"
        response.source_nodes[0].node.text = "[removed]"
        response.source_nodes.clear()
    assert scored(watched) == [(compose_llm_input(ASKED, contexts=PASSAGES), ANSWER)]


def test_a_chats_response_is_scored_as_it_was_returned(watched: Watched) -> None:
    """As a query's."""
    with nothing_read(watched):
        response = chat(says("A week.")).chat(ASKED)
        response.response = "[removed]"
    assert scored(watched) == [(compose_llm_input(ASKED, history=HISTORY), "A week.")]


async def test_an_agents_answer_is_scored_as_it_was_returned(watched: Watched) -> None:
    """With what its tools returned."""
    with nothing_read(watched):
        output = await function_agent().run(ASKED)
        output.response.content = "[removed]"
        output.tool_calls.clear()
    assert scored(watched) == [(compose_llm_input(ASKED, contexts=[FOUND]), TOLD)]


def test_answers_are_scored_in_the_order_in_which_they_ended(watched: Watched) -> None:
    """Streamed ones among them."""
    answers = [f"Answer {number}." for number in range(6)]
    with nothing_read(watched):
        for number, answer in enumerate(answers):
            response: Any = query_engine(Talker(answer=answer), streaming=number % 2 == 1).query(ASKED)
            str(response)
    assert watched.counts() == AnswerCounts(answers=6, submitted=6)
    assert {text for _, text in scored(watched)} == set(answers)


class Remembering(StartEvent):
    """A start event that knows the conversation."""

    user_msg: str

    @property
    def chat_history(self) -> list[ChatMessage]:
        return list(EARLIER)


class Answering(Workflow):
    """Ends in an answer."""

    @step
    async def answer(self, event: Remembering) -> StopEvent:
        return StopEvent(result="A week.")


async def test_earlier_turns_that_a_start_event_computes(watched: Watched) -> None:
    """As those that it holds."""
    await Answering().run(start_event=Remembering(user_msg=ASKED))
    assert scored(watched) == [(compose_llm_input(ASKED, history=HISTORY), "A week.")]


class Renaming(MockFunctionCallingLLM):
    """A chat model that calls its messages something else."""

    def chat(self, conversation: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return super().chat(conversation, **kwargs)


class Taking(MockFunctionCallingLLM):
    """A chat model that takes whatever it is given."""

    def chat(self, *args: Any, **kwargs: Any) -> ChatResponse:
        return super().chat(*args, **kwargs)


@pytest.mark.parametrize("kind", [MockFunctionCallingLLM, Renaming, Taking])
def test_earlier_turns_are_found_whatever_a_model_calls_its_arguments(watched: Watched, kind: Any) -> None:
    """They are in what it is given, first or by name."""
    answer = ChatMessage(role="assistant", content="A week.")
    chat(kind(response_generator=lambda messages, **_: answer, is_chat_model=True)).chat(ASKED)
    assert scored(watched) == [(compose_llm_input(ASKED, history=HISTORY), "A week.")]
