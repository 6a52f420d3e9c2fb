"""Streams and objects of LlamaIndex's behave under PiInstrumentationHandler as they do without it."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from in_memory_engines import ANSWER, Canned, Talker, in_thread, query_engine
from live_answers import ASKED, Watched, function_agent, watching
from llama_index.core.agent.workflow import AgentWorkflow
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, CompletionResponseGen
from llama_index.core.base.response.schema import AsyncStreamingResponse, Response, StreamingResponse
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.chat_engine.types import AgentChatResponse, BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScorer
from pi_integrations.llama_index import AnswerCounts, PiCallbackHandler

pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore::pydantic.warnings.PydanticDeprecatedSince211",
)


@pytest.fixture
def watched(client: AsyncPiClient) -> Iterator[Watched]:
    with watching(client) as watched:
        yield watched


def chat(llm: Talker | None = None) -> SimpleChatEngine:
    return SimpleChatEngine.from_defaults(llm=llm or Talker(), memory=ChatMemoryBuffer.from_defaults(chat_history=[]))


async def test_a_chats_streams_are_generators(watched: Watched) -> None:
    """Streamlit, for one, takes what it is given for a stream only then."""
    response = await chat().astream_chat(ASKED)
    assert inspect.isasyncgenfunction(response.async_response_gen)
    stream = response.async_response_gen()
    assert inspect.isasyncgen(stream)
    assert "".join([piece async for piece in stream]) == ANSWER
    assert inspect.isgenerator(in_thread(lambda: chat().stream_chat(ASKED)).response_gen)


class AsyncWords:
    """An async iterator that is no generator."""

    def __init__(self, words: list[str]) -> None:
        self._words = iter(words)

    def __aiter__(self) -> AsyncWords:
        return self

    async def __anext__(self) -> str:
        try:
            return next(self._words)
        except StopIteration:
            raise StopAsyncIteration from None


class Iterated(StreamingAgentChatResponse):
    """An application's own, read by plain iterators."""

    @property
    def response_gen(self) -> Any:
        return iter(["A ", "week."])

    def async_response_gen(self) -> Any:
        return AsyncWords(["A ", "week."])


class Desk(BaseChatEngine):
    """Answers every message with `Iterated`."""

    @property
    def chat_history(self) -> list[ChatMessage]:
        return []

    def reset(self) -> None: ...

    def chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        return AgentChatResponse(response="A week.")

    def stream_chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> StreamingAgentChatResponse:
        return Iterated()

    async def achat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        return AgentChatResponse(response="A week.")

    async def astream_chat(
        self, message: str, chat_history: list[ChatMessage] | None = None
    ) -> StreamingAgentChatResponse:
        return Iterated()


async def test_a_chats_own_iterators_can_be_read(watched: Watched) -> None:
    assert list(Desk().stream_chat(ASKED).response_gen) == ["A ", "week."]
    response = await Desk().astream_chat(ASKED)
    assert [piece async for piece in response.async_response_gen()] == ["A ", "week."]
    assert [score.llm_output for score in watched.scores()] == ["A week."] * 2


def test_a_second_reader_of_a_chat_doubles_nothing(watched: Watched) -> None:
    """LlamaIndex gives all of it again to one that comes when nothing is left."""
    response = chat().stream_chat(ASKED)
    assert response.write_response_to_history_thread is not None
    response.write_response_to_history_thread.join()
    first = response.response_gen
    taken = [next(first) for _ in ANSWER.split(" ")]
    assert "".join(response.response_gen) == "".join(taken) == ANSWER
    assert list(first) == []
    assert [score.llm_output for score in watched.scores()] == [ANSWER]
    assert watched.counts() == AnswerCounts(answers=1, submitted=1)


class Looking(Talker):
    """Asks an index when its stream is read."""

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        def words() -> CompletionResponseGen:
            text = str(query_engine().query("Repairs?"))
            yield CompletionResponse(text=text, delta=text)

        return words()


def looking() -> StreamingResponse:
    return StreamingResponse(str(query_engine().query("Repairs?")) for _ in range(1))


async def alooking() -> AsyncStreamingResponse:
    async def words() -> Any:
        yield str(await query_engine().aquery("Repairs?"))

    return AsyncStreamingResponse(words())


def from_an_engine() -> str:
    return "".join(Canned(looking).query(ASKED).response_gen)  # type: ignore[union-attr,arg-type]


def from_a_chat() -> str:
    return "".join(chat(Looking()).stream_chat(ASKED).response_gen)


@pytest.mark.parametrize("read", [from_an_engine, from_a_chat])
def test_what_is_asked_while_a_stream_is_read_is_part_of_its_answer(watched: Watched, read: Callable[[], str]) -> None:
    """And what is asked after that is not."""
    assert in_thread(read) == ANSWER
    assert in_thread(lambda: str(query_engine().query("Warranty?"))) == ANSWER
    asked = [score.llm_input.rpartition("\n")[2] for score in watched.scores()]
    assert asked == [ASKED, "Warranty?"]


async def test_and_so_it_is_with_an_async_stream(watched: Watched) -> None:
    class Asking(Canned):
        async def _aquery(self, query_bundle: Any) -> Any:
            return await alooking()

    response: Any = await Asking(lambda: Response("never")).aquery(ASKED)
    between = await query_engine().aquery("Warranty?")
    assert "".join([piece async for piece in response.response_gen]) == str(between) == ANSWER
    asked = sorted(score.llm_input.rpartition("\n")[2] for score in watched.scores())
    assert asked == [ASKED, "Warranty?"]


class Slowly(Canned):
    """Begins to ask before its first piece, and has the answer for its last."""

    async def _aquery(self, query_bundle: Any) -> Any:
        async def words() -> Any:
            run = function_agent().run("Repairs?")
            other = asyncio.create_task(query_engine().aquery("Repairs?"))
            yield "Searching: "
            await run
            yield str(await other)

        return AsyncStreamingResponse(words())


async def test_what_a_stream_begins_to_ask_in_one_piece_and_has_in_another(watched: Watched) -> None:
    response: Any = await Slowly(lambda: Response("never")).aquery(ASKED)
    assert [piece async for piece in response.response_gen] == ["Searching: ", ANSWER]
    assert watched.counts() == AnswerCounts(answers=1, submitted=1)


async def test_with_two_handlers_an_open_chat_hides_nothing(client: AsyncPiClient) -> None:
    """What is asked while it is held is asked by the user."""
    with watching(client) as first, watching(client) as second:
        held = await chat().astream_chat(ASKED)
        stream = held.async_response_gen()
        await anext(stream)
        await query_engine().aquery("Warranty?")
        await asyncio.create_task(query_engine().aquery("Warranty?"))
        await function_agent().run("Warranty?")
        for watched in (first, second):
            assert watched.counts() == AnswerCounts(answers=4, submitted=3, streaming=1)
        await stream.aclose()


async def test_a_worker_that_a_chat_started_works_for_others_too(watched: Watched) -> None:
    """Though somebody holds the chat and never reads it."""
    tasks: asyncio.Queue[str] = asyncio.Queue()
    answers: asyncio.Queue[str] = asyncio.Queue()
    workers: list[asyncio.Task[None]] = []

    async def work() -> None:
        while True:
            answers.put_nowait(str(await query_engine().aquery(await tasks.get())))

    class Starting(Talker):
        async def astream_chat(self, *given: Any, **named: Any) -> Any:
            workers.append(asyncio.create_task(work()))
            return await super().astream_chat(*given, **named)

    held = await chat(Starting()).astream_chat(ASKED)
    assert held.awrite_response_to_history_task is not None
    await held.awrite_response_to_history_task
    tasks.put_nowait("Warranty?")
    assert await answers.get() == ANSWER
    assert watched.counts() == AnswerCounts(answers=2, submitted=1, streaming=1)
    for worker in workers:
        worker.cancel()


async def test_a_reader_that_is_cancelled_leaves_the_rest_to_another(watched: Watched) -> None:
    class Halting(Talker):
        async def astream_chat(self, *given: Any, **named: Any) -> Any:
            async def words() -> Any:
                yield ChatResponse(message=ChatMessage("A", role="assistant"), delta="A")
                await go_on.wait()
                yield ChatResponse(message=ChatMessage("A week.", role="assistant"), delta=" week.")

            return words()

    go_on = asyncio.Event()
    response = await chat(Halting()).astream_chat(ASKED)
    # LlamaIndex has a reader that is cancelled wait for the model all the same.
    asyncio.get_running_loop().call_later(0.6, go_on.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            async for _ in response.async_response_gen():
                pass
    assert watched.counts() == AnswerCounts(answers=1, incomplete=1)
    assert [piece async for piece in response.async_response_gen()] == [" week."]
    assert [score.llm_output for score in watched.scores()] == ["A week."]
    assert watched.counts() == AnswerCounts(answers=1, submitted=1)


def test_a_loop_that_ends_with_an_open_stream_complains_of_nothing(watched: Watched) -> None:
    """It closes all generators at once, ours and the one behind it, which may take its time to clean up."""
    complaints: list[Any] = []

    async def words() -> Any:
        try:
            yield "A"
            yield " week."
        finally:
            await asyncio.sleep(0.01)

    class Answering(Canned):
        async def _aquery(self, query_bundle: Any) -> Any:
            return AsyncStreamingResponse(words())

    async def main() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        response: Any = await Answering(lambda: Response("never")).aquery(ASKED)
        await anext(response.response_gen)
        return response

    in_thread(lambda: asyncio.run(main()))
    assert complaints == []
    assert watched.counts() == AnswerCounts(answers=1, incomplete=1)


class Fixed(StreamingResponse):
    """Its stream cannot be replaced."""

    @property
    def response_gen(self) -> Any:  # type: ignore[override]
        return iter(["A week."])

    @response_gen.setter
    def response_gen(self, stream: Any) -> None:
        if stream is not None:
            raise AttributeError("it is fixed")


def test_a_stream_that_cannot_be_watched_is_an_error_once(watched: Watched) -> None:
    response: Any = Canned(lambda: Fixed(None)).query(ASKED)
    assert list(response.response_gen) == ["A week."]
    gc.collect()
    assert watched.counts() == AnswerCounts(answers=1, errors=1)


def test_a_query_between_two_pieces_is_an_answer_of_its_own(watched: Watched) -> None:
    """While a chat is streamed, too."""
    for stream in (query_engine(streaming=True).query(ASKED), chat().stream_chat(ASKED)):
        pieces = stream.response_gen
        next(pieces)
        query_engine().query("Warranty?")
        list(pieces)
    asked = sorted(score.llm_input.rpartition("\n")[2] for score in watched.scores())
    assert asked == [ASKED, ASKED, "Warranty?", "Warranty?"]


class Asking(Workflow):
    @step
    async def answer(self, event: StartEvent) -> StopEvent:
        return StopEvent(result=ANSWER)


@pytest.mark.parametrize("make", [function_agent, Asking, lambda: AgentWorkflow(agents=[function_agent(name="a")])])
async def test_agents_and_workflows_can_be_copied(watched: Watched, make: Callable[[], Any]) -> None:
    """They hold the dispatcher that holds the handler."""
    copied = copy.deepcopy(make())
    await copied.run(user_msg=ASKED)
    assert watched.counts() == AnswerCounts(answers=1, submitted=1)


def test_engines_with_a_callback_handler_can_be_copied(client: AsyncPiClient) -> None:
    with BackgroundScorer([{"question": "Is it polite?"}], client=client) as scorer:
        handler = PiCallbackHandler(scorer)
        engine = copy.deepcopy(query_engine(callback_manager=CallbackManager([handler])))
        in_thread(lambda: engine.query(ASKED))
        assert handler.counts() == AnswerCounts(answers=1, submitted=1)


FORKED = """
import gc, os, sys
sys.path.insert(0, sys.argv[1])
from in_memory_engines import query_engine
from live_answers import watching
from pi_integrations.llama_index import AnswerCounts
from pi_integrations.testing import scripted_client

with scripted_client(default=0.5).client() as client, watching(client) as watched:
    stream = query_engine(streaming=True).query("How long?")
    next(stream.response_gen)
    child = os.fork()
    if child == 0:
        first = stream.response_gen if sys.argv[2] == "read" else None
        list(first or ())
        del stream, first
        gc.collect()
        query_engine().query("Warranty?")
        os._exit(watched.counts() != AnswerCounts(answers=1, submitted=1))
    assert os.waitpid(child, 0)[1] == 0
    list(stream.response_gen)
    assert watched.counts() == AnswerCounts(answers=1, submitted=1), watched.counts()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("what", ["drop", "read"])
def test_a_stream_that_was_open_at_a_fork_is_the_parents_alone(what: str) -> None:
    """The child counts from 0, whatever it does with its copy."""
    gc.collect()
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(Path(__file__).parent), what]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
