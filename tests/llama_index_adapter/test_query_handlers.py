"""PiInstrumentationHandler and PiCallbackHandler: one score per answer that a user of a real query engine sees."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from in_memory_engines import ANSWER, PASSAGES, Canned, Shelf, Talker, in_thread, query_engine
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_selector import BaseSelector, SelectorResult, SingleSelection
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.query_engine import (
    CustomQueryEngine,
    RetrieverQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
)
from llama_index.core.question_gen.types import BaseQuestionGenerator, SubQuestion
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import QueryEngineTool, ToolMetadata
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.event_handlers import BaseEventHandler
from pydantic import BaseModel

from pi_integrations import AsyncPiClient, embedded
from pi_integrations.background import BackgroundScore, BackgroundScorer, MemorySink
from pi_integrations.llama_index import AnswerCounts, PiCallbackHandler, PiInstrumentationHandler
from pi_integrations.testing import ScriptedJudge

RUBRIC = [{"question": "Is the answer polite?"}]
QUERY = "How long does a repair take?"
SCORED_INPUT = f"### Context\n[1] {PASSAGES[0]}\n\n[2] {PASSAGES[1]}\n\n### Input\n{QUERY}"


@dataclass
class Live:
    """A handler at work, whichever of the two, and where its scores arrive."""

    scorer: BackgroundScorer
    sink: MemorySink
    handler: PiInstrumentationHandler | PiCallbackHandler
    given: dict[str, Any] = field(default_factory=dict)

    def engine(self, llm: Talker | None = None, *, streaming: bool = False) -> BaseQueryEngine:
        return query_engine(llm, streaming=streaming, **self.given)

    def scores(self) -> list[BackgroundScore]:
        assert self.scorer.flush(10)
        return self.sink.scores


@pytest.fixture
def scorer(client: AsyncPiClient) -> Iterator[BackgroundScorer]:
    with BackgroundScorer(RUBRIC, client=client, sink=MemorySink()) as scorer:
        yield scorer


def instrumented(scorer: BackgroundScorer) -> Iterator[Live]:
    with PiInstrumentationHandler(scorer) as handler:
        yield Live(scorer, scorer.sink, handler)  # type: ignore[arg-type]


def called_back(scorer: BackgroundScorer) -> Iterator[Live]:
    handler = PiCallbackHandler(scorer)
    manager = CallbackManager([handler])
    yield Live(scorer, scorer.sink, handler, {"callback_manager": manager})  # type: ignore[arg-type]


@pytest.fixture(params=[instrumented, called_back])
def live(request: pytest.FixtureRequest, scorer: BackgroundScorer) -> Iterator[Live]:
    """Either handler."""
    yield from request.param(scorer)


@pytest.fixture
def installed(scorer: BackgroundScorer) -> Iterator[Live]:
    """The instrumentation handler."""
    yield from instrumented(scorer)


async def read(stream: Any) -> list[str]:
    return [piece async for piece in stream]


class TestOneScorePerAnswer:
    """With its question, its contexts and its whole text."""

    def test_query(self, live: Live) -> None:
        """A plain query is submitted when it ends."""
        live.engine().query(QUERY)
        (score,) = live.scores()
        assert (score.llm_input, score.llm_output, score.result.total_score) == (SCORED_INPUT, ANSWER, 0.9)
        assert live.handler.counts() == AnswerCounts(answers=1, submitted=1)

    async def test_aquery(self, live: Live) -> None:
        """So is an async one."""
        await live.engine().aquery(QUERY)
        (score,) = live.scores()
        assert (score.llm_input, score.llm_output) == (SCORED_INPUT, ANSWER)

    @pytest.mark.parametrize(
        "consume",
        [
            lambda response: "".join(response.response_gen),
            str,
            lambda response: response.get_response().response,
            lambda response: response.print_response_stream(),
        ],
        ids=["response_gen", "str", "get_response", "print"],
    )
    def test_streamed_query(self, live: Live, consume: Callable[[StreamingResponse], str | None]) -> None:
        """A stream is submitted when the user has read it, whichever way, and the user misses nothing."""
        response = live.engine(streaming=True).query(QUERY)
        assert isinstance(response, StreamingResponse)
        assert live.handler.counts() == AnswerCounts(answers=1, streaming=1)
        assert consume(response) in (ANSWER, None)
        (score,) = live.scores()
        assert (score.llm_input, score.llm_output) == (SCORED_INPUT, ANSWER)
        assert live.handler.counts() == AnswerCounts(answers=1, submitted=1)

    async def test_streamed_aquery(self, live: Live) -> None:
        """An async stream, read with async for."""
        response = await live.engine(streaming=True).aquery(QUERY)
        assert isinstance(response, AsyncStreamingResponse)
        assert "".join(await read(response.async_response_gen())) == ANSWER
        (score,) = live.scores()
        assert (score.llm_input, score.llm_output) == (SCORED_INPUT, ANSWER)

    async def test_streamed_aquery_read_at_once(self, live: Live) -> None:
        """An async stream, read with get_response."""
        response = await live.engine(streaming=True).aquery(QUERY)
        assert isinstance(response, AsyncStreamingResponse)
        assert (await response.get_response()).response == ANSWER
        assert [score.llm_output for score in live.scores()] == [ANSWER]

    def test_threads(self, live: Live) -> None:
        """8 threads, synchronous, asynchronous and streamed queries mixed: as many scores as answers."""

        def work(number: int) -> str:
            engine = live.engine(Talker(answer=f"answer {number}"), streaming=number % 3 == 0)
            if number % 2:
                return str(asyncio.run(engine.aquery(QUERY)) if number % 3 else engine.query(QUERY))
            return str(engine.query(QUERY))

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(work, range(40)))
        assert sorted(score.llm_output for score in live.scores()) == sorted(answers)

    def test_the_next_query_after_a_failed_one(self, live: Live) -> None:
        """A query that raises leaves nothing behind that would hide the next one."""

        class Broken(Talker):
            def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
                raise ConnectionError("the model is down")

        with pytest.raises(ConnectionError, match="the model is down"):
            live.engine(Broken()).query(QUERY)
        live.engine().query(QUERY)
        assert [score.llm_output for score in live.scores()] == [ANSWER]
        assert live.handler.counts() == AnswerCounts(answers=1, submitted=1, failed=1)

    def test_a_task_that_outlives_its_query(self, installed: Live) -> None:
        """A query in a task begun by another query, but made after that one ended, is an answer of its own."""
        gate = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []

        async def later() -> None:
            await gate.wait()
            await installed.engine(Talker(answer="later")).aquery(QUERY)

        class Starter(Canned):
            async def _aquery(self, query_bundle: QueryBundle) -> Response:
                tasks.append(asyncio.create_task(later()))
                return Response("now")

        async def main() -> None:
            await Starter(lambda: Response("unused")).aquery(QUERY)
            gate.set()
            await asyncio.gather(*tasks)

        asyncio.run(main())
        assert sorted(score.llm_output for score in installed.scores()) == ["later", "now"]


class TestPiecesThatAreNoText:
    def test_a_last_piece_of_none_is_passed_on_and_the_text_is_scored(self, installed: Live) -> None:
        """As some providers end their streams."""
        response = Canned(lambda: StreamingResponse(piece for piece in ["a", None, "b"])).query(QUERY)  # type: ignore[misc]
        assert list(response.response_gen) == ["a", None, "b"]  # type: ignore[union-attr]
        assert [score.llm_output for score in installed.scores()] == ["ab"]

    async def test_other_pieces_are_passed_on_and_counted_as_an_error(self, installed: Live) -> None:
        """The user's stream is never the place where our trouble shows."""

        async def pieces() -> Any:
            yield b"bytes"

        response = await Canned(lambda: AsyncStreamingResponse(pieces())).aquery(QUERY)
        assert [piece async for piece in response.response_gen] == [b"bytes"]  # type: ignore[union-attr]
        assert installed.handler.counts().errors == 1


class TestStreamsAreLeftAlone:
    """Nothing is read that the user does not read."""

    def test_no_word_is_taken_early(self, live: Live) -> None:
        """With the handler, the model has said as much as without it."""
        without, watched = Talker(), Talker()
        query_engine(without, streaming=True).query(QUERY)
        response = live.engine(watched, streaming=True).query(QUERY)
        assert len(watched.said) == len(without.said) < len(ANSWER.split())
        assert isinstance(response, StreamingResponse)
        next(iter(response.response_gen))
        assert len(watched.said) <= len(without.said) + 1

    def test_early_close_is_incomplete(self, live: Live) -> None:
        """Half an answer is not scored."""
        response = live.engine(streaming=True).query(QUERY)
        assert isinstance(response, StreamingResponse)
        next(iter(response.response_gen))
        response.response_gen.close()
        assert live.handler.counts() == AnswerCounts(answers=1, incomplete=1)
        assert live.scores() == []

    def test_close_reaches_the_stream_behind(self, installed: Live) -> None:
        """The application's own stream is closed when the user closes what they were given."""
        closed = []

        def words() -> Generator[str, None, None]:
            try:
                yield from ("One ", "week.")
            finally:
                closed.append(True)

        behind = words()
        response = Canned(lambda: StreamingResponse(behind)).query(QUERY)
        assert isinstance(response, StreamingResponse)
        next(response.response_gen)
        response.response_gen.close()
        assert closed == [True]

    async def test_close_reaches_the_async_stream_behind(self, installed: Live) -> None:
        """Asynchronous ones too."""
        closed = []

        async def words() -> AsyncGenerator[str, None]:
            try:
                yield "One "
                yield "week."
            finally:
                closed.append(True)

        behind = words()
        response = await Canned(lambda: AsyncStreamingResponse(behind)).aquery(QUERY)
        assert isinstance(response, AsyncStreamingResponse)
        await anext(response.response_gen)
        await response.response_gen.aclose()
        assert closed == [True]

    async def test_early_close_of_an_async_stream_is_incomplete(self, live: Live) -> None:
        """Half an answer is not scored."""
        response = await live.engine(streaming=True).aquery(QUERY)
        assert isinstance(response, AsyncStreamingResponse)
        stream = response.response_gen
        await anext(stream)
        await stream.aclose()
        assert live.handler.counts() == AnswerCounts(answers=1, incomplete=1)
        assert live.scores() == []

    def test_a_stream_never_read_is_incomplete_when_it_is_gone(self, live: Live) -> None:
        """Nothing is left streaming for ever."""
        response = live.engine(streaming=True).query(QUERY)
        assert live.handler.counts().streaming == 1
        del response
        gc.collect()
        assert live.handler.counts() == AnswerCounts(answers=1, incomplete=1)

    def test_a_stream_that_breaks_off_raises_to_the_user(self, installed: Live) -> None:
        """The application's error is the user's, unchanged; the answer is incomplete."""

        def words() -> Generator[str, None, None]:
            yield "One "
            raise ConnectionError("the model is down")

        response = Canned(lambda: StreamingResponse(words())).query(QUERY)
        assert isinstance(response, StreamingResponse)
        with pytest.raises(ConnectionError, match="the model is down"):
            list(response.response_gen)
        assert installed.handler.counts() == AnswerCounts(answers=1, incomplete=1)


class First(BaseSelector):
    """Takes the first choice."""

    def _select(self, choices: Any, query: QueryBundle) -> SelectorResult:
        return SelectorResult(selections=[SingleSelection(index=0, reason="first")])

    async def _aselect(self, choices: Any, query: QueryBundle) -> SelectorResult:
        return self._select(choices, query)

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: dict[str, Any]) -> None: ...


class Twice(BaseQuestionGenerator):
    """Two sub-questions."""

    def generate(self, tools: Any, query: QueryBundle) -> list[SubQuestion]:
        return [SubQuestion(sub_question=question, tool_name="repairs") for question in ("How?", "When?")]

    async def agenerate(self, tools: Any, query: QueryBundle) -> list[SubQuestion]:
        return self.generate(tools, query)

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: dict[str, Any]) -> None: ...


class TestQueriesInsideQueries:
    """Only the answer to the user's own question counts."""

    def tool(self, live: Live, **given: Any) -> QueryEngineTool:
        metadata = ToolMetadata(name="repairs", description="About repairs")
        return QueryEngineTool(query_engine=live.engine(Talker(answer="inner"), **given), metadata=metadata)

    @pytest.mark.parametrize("use_async", [False, True])
    def test_sub_questions(self, live: Live, use_async: bool) -> None:
        """Two inner queries, one answer, in threads and tasks as LlamaIndex starts them."""
        engine = SubQuestionQueryEngine(
            question_gen=Twice(),
            response_synthesizer=get_response_synthesizer(llm=Talker(answer="outer"), **live.given),
            query_engine_tools=[self.tool(live)],
            verbose=False,
            use_async=use_async,
            **live.given,
        )
        in_thread(lambda: engine.query(QUERY))
        (score,) = live.scores()
        assert score.llm_output == "outer"
        assert score.llm_input.endswith(f"### Input\n{QUERY}")

    async def test_a_router_with_a_stream(self, live: Live) -> None:
        """The inner engine's stream is the answer, and is copied once."""
        tools = [self.tool(live, streaming=True)]
        engine = RouterQueryEngine(selector=First(), query_engine_tools=tools, llm=Talker(**live.given))
        response = await engine.aquery(QUERY)
        assert isinstance(response, AsyncStreamingResponse)
        assert "".join(await read(response.async_response_gen())) == "inner"
        assert [score.llm_output for score in live.scores()] == ["inner"]

    def test_a_failed_inner_query(self, installed: Live) -> None:
        """The outer answer still counts, and so does the query after it."""

        def fail() -> Response:
            raise ConnectionError("the model is down")

        def answer() -> Response:
            with pytest.raises(ConnectionError):
                Canned(fail).query("inner")
            return Response("outer")

        Canned(answer).query(QUERY)
        Canned(lambda: Response("next")).query(QUERY)
        assert [score.llm_output for score in installed.scores()] == ["outer", "next"]


class Duration(BaseModel):
    """A structured answer."""

    weeks: int


class Desk(CustomQueryEngine):
    """An engine of the application's own: LlamaIndex has no query events for it, only spans."""

    def custom_query(self, query_str: str) -> str:
        return f"I was asked: {query_str}"


class Asks(CustomQueryEngine):
    """Asks two other engines, in words of its own."""

    def custom_query(self, query_str: str) -> str:
        return " ".join(str(query_engine().query(f"{query_str} ({number})")) for number in (1, 2))


class Fails(CustomQueryEngine):
    def custom_query(self, query_str: str) -> str:
        raise ValueError("no answer")


class Renames(RetrieverQueryEngine):
    """Has a `query` of its own around LlamaIndex's, with other arguments."""

    def query(self, top_k: int, question: str) -> Any:  # type: ignore[override]
        return super().query(question)


class PassesOn(RetrieverQueryEngine):
    """Around LlamaIndex's, as for logging: it does not look at what it is given."""

    def query(self, *given: Any, **named: Any) -> Any:  # type: ignore[override]
        return super().query(*given, **named)


class TestEnginesOfTheApplicationsOwn:
    """One score for the answer that the user sees."""

    async def test_a_custom_engine(self, installed: Live) -> None:
        """Sync and async, of a string and of a bundle."""
        Desk().query(QUERY)
        await Desk().aquery(QueryBundle(QUERY))
        scores = installed.scores()
        assert [(score.name, score.llm_input, score.llm_output) for score in scores] == [
            ("Desk", QUERY, f"I was asked: {QUERY}")
        ] * 2
        assert all(score.metadata["run_id"].startswith(("Desk.query-", "Desk.aquery-")) for score in scores)

    async def test_one_that_asks_others(self, installed: Live) -> None:
        """Theirs are no answers of the user's."""
        await Asks().aquery(QUERY)
        in_thread(lambda: Asks().query(QUERY))
        assert [(score.name, score.llm_input) for score in installed.scores()] == [("Asks", QUERY)] * 2
        assert installed.handler.counts() == AnswerCounts(answers=2, submitted=2)

    async def test_one_that_raises(self, installed: Live) -> None:
        """It is counted, and hides nothing that follows."""
        with pytest.raises(ValueError, match="no answer"):
            Fails().query(QUERY)
        with pytest.raises(ValueError, match="no answer"):
            await Fails().aquery(QUERY)
        Desk().query(QUERY)
        assert installed.handler.counts() == AnswerCounts(answers=1, submitted=1, failed=2)

    def test_one_with_a_query_method_of_its_own(self, installed: Live) -> None:
        """Around LlamaIndex's: two spans, one answer, and the question found by its name."""
        synthesizer = get_response_synthesizer(llm=Talker())
        Renames(retriever=Shelf(), response_synthesizer=synthesizer).query(2, question=QUERY)
        assert [(score.name, score.llm_input) for score in installed.scores()] == [("Renames", SCORED_INPUT)]

    @pytest.mark.parametrize("given", [((QUERY,), {}), ((), {"str_or_query_bundle": QUERY})], ids=["*", "**"])
    def test_one_that_passes_on_what_it_is_given(self, installed: Live, given: Any) -> None:
        """One answer, and the question is found."""
        PassesOn(retriever=Shelf(), response_synthesizer=get_response_synthesizer(llm=Talker())).query(
            *given[0], **given[1]
        )
        assert [(score.name, score.llm_input) for score in installed.scores()] == [("PassesOn", SCORED_INPUT)]


class TestOtherAnswers:
    """What is not a plain text with nodes."""

    def test_a_pydantic_answer_is_scored_as_json(self, installed: Live) -> None:
        """With its contexts."""
        nodes = [NodeWithScore(node=TextNode(text=PASSAGES[0]))]
        Canned(lambda: PydanticResponse(Duration(weeks=1), nodes)).query(QueryBundle(QUERY))
        (score,) = installed.scores()
        assert score.llm_output == '{"weeks":1}'
        assert score.llm_input == f"### Context\n[1] {PASSAGES[0]}\n\n### Input\n{QUERY}"

    def test_no_text_is_incomplete(self, installed: Live) -> None:
        """There is nothing to score."""
        Canned(lambda: Response(None)).query(QUERY)
        Canned(lambda: PydanticResponse(None)).query(QUERY)
        assert installed.handler.counts() == AnswerCounts(answers=2, incomplete=2)

    @pytest.mark.parametrize("shown", [str, repr, lambda response: response.get_response(), lambda response: response])
    def test_a_streamed_answer_without_a_stream_is_incomplete(
        self, installed: Live, shown: Callable[[Any], Any]
    ) -> None:
        """And is to the user what it would be without the handler."""
        response = Canned(lambda: StreamingResponse(None)).query(QUERY)  # type: ignore[arg-type]
        assert installed.handler.counts() == AnswerCounts(answers=1, incomplete=1)
        assert shown(response) == shown(StreamingResponse(None))  # type: ignore[arg-type]

    async def test_an_async_streamed_answer_without_a_stream_is_incomplete(self, installed: Live) -> None:
        """As a synchronous one."""
        response: Any = await Canned(lambda: AsyncStreamingResponse(None)).aquery(QUERY)  # type: ignore[arg-type]
        assert installed.handler.counts() == AnswerCounts(answers=1, incomplete=1)
        assert response.response_gen is None
        assert await read(response.async_response_gen()) == [None]
        assert (await response.get_response()).response is None

    def test_a_response_that_cannot_be_read_harms_nobody(
        self, installed: Live, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The user gets the answer; the handler counts its error and logs it once."""
        engine = Canned(lambda: Response("One week.", [NodeWithScore.model_construct(node=None)]))
        for _ in range(3):
            assert str(engine.query(QUERY)) == "One week."
        assert installed.handler.counts() == AnswerCounts(answers=3, errors=3)
        assert sum("An answer was not scored" in record.message for record in caplog.records) == 1

    def test_tags_and_span_come_with_the_score(self, installed: Live) -> None:
        """What the application attached with instrument_tags is in the metadata."""
        with instrument_tags({"customer": "c-7"}):
            installed.engine().query(QUERY)
        (score,) = installed.scores()
        assert score.metadata["tags"] == {"customer": "c-7"}
        assert score.metadata["run_id"].startswith("RetrieverQueryEngine.query-")


class Listener(BaseEventHandler):
    """Somebody else's handler."""

    seen: int = 0

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.seen += 1


class TestInstalling:
    """The dispatcher is the process's own: what is added is taken away again."""

    def test_uninstalled_it_hears_nothing(self, scorer: BackgroundScorer) -> None:
        """Handlers of others stay where they are."""
        root, other = get_dispatcher("root"), Listener()
        before = list(root.event_handlers)
        root.add_event_handler(other)
        handler = PiInstrumentationHandler(scorer).install()
        handler.uninstall()
        handler.uninstall()
        query_engine().query(QUERY)
        assert other.seen > 0
        assert handler.counts() == AnswerCounts()
        root.event_handlers = before

    def test_installed_twice_it_hears_once(self, scorer: BackgroundScorer) -> None:
        """And a with block around an installed one uninstalls it."""
        handler = PiInstrumentationHandler(scorer).install().install()
        with handler:
            query_engine().query(QUERY)
        query_engine().query(QUERY)
        assert handler.counts().answers == 1

    def test_two_rubrics_score_every_answer_twice(self, scorer: BackgroundScorer, client: AsyncPiClient) -> None:
        """Two handlers do not hide answers from each other, streamed ones included."""
        with BackgroundScorer([{"question": "Is the answer clear?"}], client=client) as second:
            with PiInstrumentationHandler(scorer), PiInstrumentationHandler(second):
                str(query_engine().query(QUERY))
                str(query_engine(streaming=True).query(QUERY))
            assert scorer.flush(10)
            assert second.flush(10)
            assert (scorer.counts().scored, second.counts().scored) == (2, 2)

    def test_removed_during_a_query_it_hears_later_ones(self, scorer: BackgroundScorer) -> None:
        """A query whose end was never heard does not hide those after the next install."""
        handler = PiInstrumentationHandler(scorer).install()

        def answer() -> Response:
            handler.uninstall()
            return Response("unheard")

        Canned(answer).query(QUERY)
        with handler:
            Canned(lambda: Response("heard")).query(QUERY)
        assert handler.counts() == AnswerCounts(answers=1, submitted=1)


def test_a_slow_judge_does_not_slow_queries() -> None:
    """Twenty queries finish in a small part of what their scores will take."""
    with embedded(judge=ScriptedJudge(default=0.5, delay=1.0)) as client:
        scorer = BackgroundScorer(RUBRIC, client=client, max_concurrency=1)
        with PiInstrumentationHandler(scorer) as handler:
            engine = query_engine()
            started = time.perf_counter()
            for _ in range(20):
                engine.query(QUERY)
            assert time.perf_counter() - started < 5.0
        assert handler.counts().submitted == 20
        assert scorer.counts().scored < 5
        scorer.close()
