"""Chat engines under PiInstrumentationHandler: one score per answer, of the question that the user asked."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from in_memory_engines import ANSWER, PASSAGES, Shelf, Talker, in_thread, query_engine
from live_answers import Watched, says, watching
from llama_index.core.base.llms.types import ChatMessage, CompletionResponse, CompletionResponseGen
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine.types import (
    AgentChatResponse,
    BaseChatEngine,
    StreamingAgentChatResponse,
)
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.memory import ChatMemoryBuffer, Memory
from sqlalchemy.ext.asyncio import create_async_engine

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScorer, MemorySink
from pi_integrations.llama_index import AnswerCounts, PiCallbackHandler, PiInstrumentationHandler

ASKED = "And what does it cost?"
EARLIER = [
    ChatMessage(role="system", content="Be brief."),
    ChatMessage(role="user", content="How long does a repair take?"),
    ChatMessage(role="assistant", content="A week."),
]
HISTORY = "### Conversation so far\nuser: How long does a repair take?\nassistant: A week."
CONTEXT = f"### Context\n[1] {PASSAGES[0]}\n\n[2] {PASSAGES[1]}"
INPUT = f"### Input\n{ASKED}"


def memory(history: list[ChatMessage]) -> ChatMemoryBuffer:
    return ChatMemoryBuffer.from_defaults(chat_history=history)


def simple(llm: Any, history: list[ChatMessage]) -> BaseChatEngine:
    return SimpleChatEngine.from_defaults(llm=llm, memory=memory(history))


def context(llm: Any, history: list[ChatMessage]) -> BaseChatEngine:
    return ContextChatEngine.from_defaults(Shelf(), llm=llm, memory=memory(history))


def condense(llm: Any, history: list[ChatMessage]) -> BaseChatEngine:
    return CondenseQuestionChatEngine.from_defaults(query_engine(llm), llm=llm, memory=memory(history))


def condense_plus(llm: Any, history: list[ChatMessage]) -> BaseChatEngine:
    return CondensePlusContextChatEngine.from_defaults(Shelf(), llm=llm, memory=memory(history))


ENGINES = [simple, context, condense, condense_plus]
Make = Callable[[Any, list[ChatMessage]], BaseChatEngine]


def expected(make: Make, *, history: bool) -> str:
    parts = [HISTORY] * history + [CONTEXT] * (make is not simple)
    return "\n\n".join([*parts, INPUT]) if parts else ASKED


@pytest.fixture
def watched(client: AsyncPiClient) -> Iterator[Watched]:
    with watching(client) as watched:
        yield watched


@pytest.fixture(params=ENGINES, ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]


async def read(response: StreamingAgentChatResponse) -> str:
    return "".join([piece async for piece in response.async_response_gen()])


class TestEveryEngine:
    """The four engines, and the four ways to ask them."""

    def test_chat(self, watched: Watched, make: Make) -> None:
        """The user's own question with its earlier turns and the source nodes, whatever the engine made of it."""
        response = in_thread(lambda: make(Talker(), list(EARLIER)).chat(ASKED))
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (expected(make, history=True), response.response)
        assert score.name == type(make(Talker(), [])).__name__
        assert score.metadata["run_id"].startswith(f"{score.name}.chat-")
        assert watched.counts() == AnswerCounts(answers=1, submitted=1)

    async def test_achat(self, watched: Watched, make: Make) -> None:
        """So it is when awaited."""
        await make(Talker(), list(EARLIER)).achat(ASKED)
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (expected(make, history=True), ANSWER)

    def test_stream_chat(self, watched: Watched, make: Make) -> None:
        """A stream counts as one when the user has read it, and not when LlamaIndex's thread has."""
        response = in_thread(lambda: make(Talker(), list(EARLIER)).stream_chat(ASKED))
        assert isinstance(response, StreamingAgentChatResponse)
        assert response.write_response_to_history_thread is not None
        response.write_response_to_history_thread.join()
        assert watched.counts() == AnswerCounts(answers=1, streaming=1)
        assert "".join(response.response_gen) == ANSWER
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (expected(make, history=True), ANSWER)

    async def test_astream_chat(self, watched: Watched, make: Make) -> None:
        """So it is with an asynchronous stream."""
        response = await make(Talker(), list(EARLIER)).astream_chat(ASKED)
        assert watched.counts() == AnswerCounts(answers=1, streaming=1)
        assert await read(response) == ANSWER
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (expected(make, history=True), ANSWER)

    def test_first_turn(self, watched: Watched, make: Make) -> None:
        """Without earlier turns there is no history."""
        in_thread(lambda: make(Talker(), []).chat(ASKED))
        assert [score.llm_input for score in watched.scores()] == [expected(make, history=False)]

    def test_history_given_with_the_call(self, watched: Watched, make: Make) -> None:
        """It is the history, instead of what the engine remembers."""
        in_thread(lambda: make(Talker(), []).chat(ASKED, chat_history=list(EARLIER)))
        assert [score.llm_input for score in watched.scores()] == [expected(make, history=True)]

    def test_a_conversation(self, watched: Watched, make: Make) -> None:
        """Every turn is one answer, with the turns before it; memory holds what it would without the handler."""
        engine = make(Talker(), [])
        for _ in range(3):
            in_thread(lambda: "".join(engine.stream_chat(ASKED).response_gen))
        inputs = [score.llm_input for score in watched.scores()]
        assert [text.count(f"user: {ASKED}\nassistant: {ANSWER}") for text in inputs] == [0, 1, 2]
        assert [message.content for message in engine.chat_history] == [ASKED, ANSWER] * 3


class TestModels:
    """What else a model may be."""

    @pytest.mark.parametrize("make", [simple, context])
    async def test_a_chat_model(self, watched: Watched, make: Make) -> None:
        """One that has messages, and whose `achat` is its `chat`: one answer, not two."""
        await make(says("A week."), list(EARLIER)).achat(ASKED)
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (expected(make, history=True), "A week.")

    async def test_memory_in_a_database(self, watched: Watched) -> None:
        """Which is the default, and which the handler does not ask."""
        database = create_async_engine("sqlite+aiosqlite:///:memory:")
        remembered = Memory.from_defaults(async_engine=database)
        await remembered.aset(list(EARLIER))
        await SimpleChatEngine.from_defaults(llm=Talker(), memory=remembered).achat(ASKED)
        assert [score.llm_input for score in watched.scores()] == [expected(simple, history=True)]
        await database.dispose()


class TestStreams:
    """Nothing is read that the user does not read, and nothing is lost."""

    @pytest.mark.parametrize(
        "consume",
        [lambda response: "".join(response.response_gen), lambda response: response.print_response_stream()],
        ids=["response_gen", "print"],
    )
    def test_ways_to_read(self, watched: Watched, consume: Callable[[StreamingAgentChatResponse], Any]) -> None:
        """Whichever way it is read."""
        consume(simple(Talker(), []).stream_chat(ASKED))
        assert [score.llm_output for score in watched.scores()] == [ANSWER]

    async def test_printed_asynchronously(self, watched: Watched) -> None:
        """The asynchronous one."""
        await (await simple(Talker(), []).astream_chat(ASKED)).aprint_response_stream()
        assert [score.llm_output for score in watched.scores()] == [ANSWER]

    def test_taken_as_a_string(self, watched: Watched) -> None:
        """`str` gives the whole answer when the model is done, and nothing before; read again, it counts once."""
        response = simple(Talker(), []).stream_chat(ASKED)
        thread = response.write_response_to_history_thread
        assert thread is not None
        thread.join()
        assert str(response) == ANSWER
        assert str(response) == ANSWER
        list(response.response_gen)
        assert [score.llm_output for score in watched.scores()] == [ANSWER]
        assert watched.counts() == AnswerCounts(answers=1, submitted=1)

    def test_early_close_is_incomplete(self, watched: Watched) -> None:
        """Half an answer is not scored, though LlamaIndex's thread has read all of it."""
        response = simple(Talker(), []).stream_chat(ASKED)
        stream = response.response_gen
        assert next(stream) == "A"
        stream.close()
        assert watched.counts() == AnswerCounts(answers=1, incomplete=1)
        assert watched.scores() == []

    async def test_early_close_of_an_async_stream_is_incomplete(self, watched: Watched) -> None:
        """Half an answer is not scored."""
        stream = (await simple(Talker(), []).astream_chat(ASKED)).async_response_gen()
        assert await anext(stream) == "A"
        await stream.aclose()
        assert watched.counts() == AnswerCounts(answers=1, incomplete=1)

    def test_read_in_two_goes(self, watched: Watched) -> None:
        """The first word by one generator, the rest by another: one whole answer."""
        response = simple(Talker(), []).stream_chat(ASKED)
        first = next(iter(response.response_gen))
        gc.collect()
        assert watched.counts() == AnswerCounts(answers=1, incomplete=1)
        second = response.response_gen
        first += next(second)
        assert watched.counts() == AnswerCounts(answers=1, streaming=1)
        assert first + "".join(second) == ANSWER
        assert [score.llm_output for score in watched.scores()] == [ANSWER]
        assert watched.counts() == AnswerCounts(answers=1, submitted=1)

    async def test_read_in_two_goes_asynchronously(self, watched: Watched) -> None:
        """A generator that is dropped does not close the answer."""
        response = await simple(Talker(), []).astream_chat(ASKED)
        first = ""
        async for piece in response.async_response_gen():
            first = piece
            break
        gc.collect()
        await asyncio.sleep(0.01)
        assert first + "".join([piece async for piece in response.async_response_gen()]) == ANSWER
        assert [score.llm_output for score in watched.scores()] == [ANSWER]
        assert watched.counts() == AnswerCounts(answers=1, submitted=1)

    def test_given_up_in_the_middle_is_incomplete_once(self, watched: Watched) -> None:
        """When its reader is gone, and when all of it is."""
        response = simple(Talker(), []).stream_chat(ASKED)
        assert response.write_response_to_history_thread is not None
        response.write_response_to_history_thread.join()
        next(response.response_gen)
        assert watched.counts() == AnswerCounts(answers=1, incomplete=1)
        del response
        gc.collect()
        assert watched.counts() == AnswerCounts(answers=1, incomplete=1)

    async def test_what_is_thrown_into_a_stream_ends_it(self, watched: Watched) -> None:
        """As into any generator, sync or async."""
        stream = simple(Talker(), []).stream_chat(ASKED).response_gen
        next(stream)
        with pytest.raises(ConnectionError):
            stream.throw(ConnectionError("gone"))
        astream = (await simple(Talker(), []).astream_chat(ASKED)).async_response_gen()
        await anext(astream)
        with pytest.raises(ConnectionError):
            await astream.athrow(ConnectionError("gone"))
        assert watched.counts() == AnswerCounts(answers=2, incomplete=2)

    def test_never_read_is_incomplete_when_it_is_gone(self, watched: Watched) -> None:
        """Nothing is left streaming for ever, and nothing is kept alive."""
        response = simple(Talker(), []).stream_chat(ASKED)
        assert response.write_response_to_history_thread is not None
        response.write_response_to_history_thread.join()
        del response
        gc.collect()
        assert watched.counts() == AnswerCounts(answers=1, incomplete=1)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # LlamaIndex's thread re-raises
    def test_a_model_that_breaks_off_raises_to_the_user(self, watched: Watched) -> None:
        """The application's error is the user's, unchanged."""

        class Broken(Talker):
            def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
                def words() -> CompletionResponseGen:
                    yield CompletionResponse(text="A", delta="A")
                    raise ConnectionError("the model is down")

                return words()

        response = simple(Broken(), []).stream_chat(ASKED)
        with pytest.raises(ConnectionError, match="the model is down"):
            list(response.response_gen)
        assert watched.counts() == AnswerCounts(answers=1, incomplete=1)

    @pytest.mark.parametrize("given", [{}, {"response": "A week."}])
    def test_a_response_without_a_stream_is_what_it_would_be_without_the_handler(
        self, watched: Watched, given: dict[str, Any]
    ) -> None:
        """Its text shows, reading it raises, and it is incomplete."""

        class Own(SimpleChatEngine):
            def stream_chat(self, message: str, chat_history: Any = None) -> StreamingAgentChatResponse:
                return StreamingAgentChatResponse(is_writing_to_memory=False, **given)

        response = Own.from_defaults(llm=Talker(), memory=memory([])).stream_chat(ASKED)
        assert str(response) == given.get("response", "")
        with pytest.raises(ValueError, match="chat_stream is None!"):
            list(response.response_gen)
        assert watched.counts() == AnswerCounts(answers=1, incomplete=1)

    def test_it_is_still_the_response_that_it_was(self, watched: Watched) -> None:
        """By type and by what it shows, for a class of the application's own too."""

        class Mine(StreamingAgentChatResponse):
            def shout(self) -> str:
                return "".join(self.response_gen).upper()

        class Own(SimpleChatEngine):
            def stream_chat(self, message: str, chat_history: Any = None) -> StreamingAgentChatResponse:
                stream = (piece for piece in Talker().stream_chat([ChatMessage(content=message)]))
                return Mine(chat_stream=stream, is_writing_to_memory=False)

        plain = simple(Talker(), []).stream_chat(ASKED)
        assert isinstance(plain, StreamingAgentChatResponse)
        assert type(plain).__name__ == "StreamingAgentChatResponse"
        mine = Own.from_defaults(llm=Talker(), memory=memory([])).stream_chat(ASKED)
        assert isinstance(mine, Mine)
        assert mine.shout() == ANSWER.upper()
        assert [score.llm_output for score in watched.scores()] == [ANSWER]
        list(plain.response_gen)

    async def test_a_copy_of_the_response_is_the_application_s_own(self, watched: Watched) -> None:
        """One made with `dataclasses.replace` reads and prints as ever; the answer itself was then never read."""

        def copied(response: StreamingAgentChatResponse) -> StreamingAgentChatResponse:
            mine = dataclasses.replace(response, source_nodes=[])
            mine.is_done = True  # a plain attribute, which `replace` leaves out
            return mine

        response = simple(Talker(), []).stream_chat(ASKED)
        assert response.write_response_to_history_thread is not None
        response.write_response_to_history_thread.join()
        mine = copied(response)
        assert "".join(mine.response_gen) == ANSWER
        assert str(mine) == ANSWER
        response = await simple(Talker(), []).astream_chat(ASKED)
        assert response.awrite_response_to_history_task is not None
        await response.awrite_response_to_history_task
        assert "".join([piece async for piece in copied(response).async_response_gen()]) == ANSWER
        del response
        gc.collect()
        assert watched.counts() == AnswerCounts(answers=2, incomplete=2)

    def test_two_handlers_copy_it_twice(self, watched: Watched, client: AsyncPiClient) -> None:
        """Two rubrics score every streamed answer twice, and the user reads it once."""
        with watching(client) as second:
            assert "".join(simple(Talker(), []).stream_chat(ASKED).response_gen) == ANSWER
            assert len(second.scores()) == 1
        assert len(watched.scores()) == 1


class TestOtherwise:
    """Failures, tags, threads and the older callbacks."""

    def test_a_chat_that_fails_is_not_an_answer(self, watched: Watched) -> None:
        """It is counted apart, and hides nothing that follows."""

        class Broken(Talker):
            def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
                raise ConnectionError("the model is down")

        with pytest.raises(ConnectionError):
            simple(Broken(), []).chat(ASKED)
        simple(Talker(), []).chat(ASKED)
        assert watched.counts() == AnswerCounts(answers=1, submitted=1, failed=1)

    async def test_a_cancelled_chat_is_incomplete(self, watched: Watched) -> None:
        """As a closed stream is."""

        class Slow(SimpleChatEngine):
            async def achat(self, message: str, chat_history: Any = None) -> AgentChatResponse:
                await asyncio.sleep(60)
                return AgentChatResponse("never")

        task = asyncio.create_task(Slow.from_defaults(llm=Talker(), memory=memory([])).achat(ASKED))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert watched.counts() == AnswerCounts(answers=1, incomplete=1)

    def test_tags(self, watched: Watched) -> None:
        """What instrument_tags attached reaches filters and sinks."""
        with instrument_tags({"customer": "c-7"}):
            simple(Talker(), []).chat(ASKED)
        (score,) = watched.scores()
        assert (score.tags, score.metadata["tags"]) == (("customer=c-7",), {"customer": "c-7"})

    def test_filters(self, client: AsyncPiClient) -> None:
        """A scorer for one kind of engine leaves the others out."""
        with watching(client, names=["SimpleChatEngine"]) as watched:
            simple(Talker(), []).chat(ASKED)
            in_thread(lambda: context(Talker(), []).chat(ASKED))
            assert [score.name for score in watched.scores()] == ["SimpleChatEngine"]

    def test_threads(self, watched: Watched) -> None:
        """8 threads, all engines, streamed and not: as many scores as answers."""

        def work(number: int) -> str:
            engine = ENGINES[number % 4](Talker(answer=f"answer {number}"), [])
            if number % 3:
                return str(engine.chat(ASKED))
            return "".join(engine.stream_chat(ASKED).response_gen)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(work, range(40)))
        assert sorted(score.llm_output for score in watched.scores()) == sorted(answers)

    def test_uninstalled_a_stream_is_still_submitted(self, client: AsyncPiClient) -> None:
        """What was begun is finished; what follows is not heard."""
        with BackgroundScorer([{"question": "Is the answer polite?"}], client=client, sink=MemorySink()) as scorer:
            handler = PiInstrumentationHandler(scorer).install()
            response = simple(Talker(), []).stream_chat(ASKED)
            handler.uninstall()
            simple(Talker(), []).chat(ASKED)
            list(response.response_gen)
            assert handler.counts() == AnswerCounts(answers=1, submitted=1)

    def test_the_older_callbacks_see_the_query_inside(self, client: AsyncPiClient) -> None:
        """Chat engines have no event of their own there."""
        with BackgroundScorer([{"question": "Is the answer polite?"}], client=client) as scorer:
            handler = PiCallbackHandler(scorer)
            manager = CallbackManager([handler])
            engine = query_engine(Talker(), callback_manager=manager)
            in_thread(
                lambda: CondenseQuestionChatEngine.from_defaults(engine, llm=Talker(), memory=memory([])).chat(ASKED)
            )
            SimpleChatEngine.from_defaults(llm=Talker(callback_manager=manager), memory=memory([])).chat(ASKED)
            assert handler.counts() == AnswerCounts(answers=1, submitted=1)
