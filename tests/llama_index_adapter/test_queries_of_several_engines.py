"""Router and sub-question engines under both handlers: one score for what the user sees, with its own contexts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from in_memory_engines import PASSAGES, Talker, in_thread, query_engine
from live_answers import ASKED, RUBRIC
from llama_index.core import Settings
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_selector import BaseSelector, SelectorResult, SingleSelection
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.callbacks import CallbackManager
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen.types import BaseQuestionGenerator, SubQuestion
from llama_index.core.response_synthesizers import TreeSummarize, get_response_synthesizer
from llama_index.core.schema import QueryBundle
from llama_index.core.tools import QueryEngineTool, ToolMetadata

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScorer, MemorySink
from pi_integrations.llama_index import AnswerCounts, PiCallbackHandler, PiInstrumentationHandler
from pi_integrations.models import compose_llm_input


class Selecting(BaseSelector):
    """Takes the first engines, `count` of them."""

    def __init__(self, count: int) -> None:
        self._count = count

    def _select(self, choices: Any, query: QueryBundle) -> SelectorResult:
        return SelectorResult(selections=[SingleSelection(index=index, reason="") for index in range(self._count)])

    async def _aselect(self, choices: Any, query: QueryBundle) -> SelectorResult:
        return self._select(choices, query)

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: dict[str, Any]) -> None: ...


class Asking(BaseQuestionGenerator):
    """Asks each engine a question in other words."""

    def generate(self, tools: Any, query: QueryBundle) -> list[SubQuestion]:
        return [SubQuestion(sub_question=f"{tool.name}?", tool_name=tool.name) for tool in tools]

    async def agenerate(self, tools: Any, query: QueryBundle) -> list[SubQuestion]:
        return self.generate(tools, query)

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Case:
    """An engine of two, and what is scored of its answer."""

    kind: str
    answer: str
    contexts: tuple[str, ...]

    def make(self, streaming: bool, given: dict[str, Any]) -> BaseQueryEngine:
        """The engine; the ones inside stream where theirs is the answer."""
        tools = [self._tool(name, streaming and self.kind == "one", given) for name in ("repairs", "costs")]
        llm = Talker(answer="outer", **given)
        if self.kind == "questions":
            synthesizer = get_response_synthesizer(llm=llm, streaming=streaming, **given)
            return SubQuestionQueryEngine(Asking(), synthesizer, tools, verbose=False, **given)
        summarizer = TreeSummarize(llm=llm, streaming=streaming, **given)
        return RouterQueryEngine(Selecting(1 if self.kind == "one" else 2), tools, llm=llm, summarizer=summarizer)

    def _tool(self, name: str, streaming: bool, given: dict[str, Any]) -> QueryEngineTool:
        engine = query_engine(Talker(answer=f"inner {name}", **given), streaming=streaming, **given)
        return QueryEngineTool(query_engine=engine, metadata=ToolMetadata(name=name, description=f"About {name}"))


SUB_ANSWERS = tuple(f"Sub question: {name}?\nResponse: inner {name}" for name in ("repairs", "costs"))
CASES = [
    Case("one", "inner repairs", PASSAGES),
    Case("both", "outer", PASSAGES * 2),
    Case("questions", "outer", SUB_ANSWERS + PASSAGES * 2),
]


@dataclass
class Watched:
    """A handler at work, whichever of the two."""

    scorer: BackgroundScorer
    handler: PiInstrumentationHandler | PiCallbackHandler
    given: dict[str, Any]


@pytest.fixture(params=["instrumented", "called back"])
def watched(request: pytest.FixtureRequest, client: AsyncPiClient) -> Iterator[Watched]:
    with BackgroundScorer(RUBRIC, client=client, sink=MemorySink()) as scorer:
        if request.param == "instrumented":
            with PiInstrumentationHandler(scorer) as handler:
                yield Watched(scorer, handler, {})
            return
        called_back = PiCallbackHandler(scorer)
        before, manager = Settings.callback_manager, CallbackManager([called_back])
        Settings.callback_manager = manager  # a router takes no other
        try:
            yield Watched(scorer, called_back, {"callback_manager": manager})
        finally:
            Settings.callback_manager = before


def queried(engine: BaseQueryEngine) -> Any:
    """The response to a query in a thread, and its text."""

    def ask() -> tuple[Any, str]:
        response = engine.query(ASKED)
        return response, str(response)

    return in_thread(ask)


async def aqueried(engine: BaseQueryEngine) -> Any:
    """The response to an async query, and its text."""
    response: Any = await engine.aquery(ASKED)
    if isinstance(response, AsyncStreamingResponse):
        return response, "".join([piece async for piece in response.async_response_gen()])
    return response, str(response)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
async def test_one_score_for_the_users_answer(watched: Watched, case: Case, is_async: bool, streaming: bool) -> None:
    """To the user's question, with the source nodes of the final answer; the queries inside have none."""
    engine = case.make(streaming, watched.given)
    response, text = await aqueried(engine) if is_async else queried(engine)
    assert isinstance(response, StreamingResponse | AsyncStreamingResponse) is streaming
    assert text == case.answer
    assert await watched.scorer.aflush(10)
    (score,) = watched.scorer.sink.scores  # type: ignore[attr-defined]
    assert (score.llm_input, score.llm_output) == (compose_llm_input(ASKED, contexts=case.contexts), case.answer)
    assert [node.get_content() for node in response.source_nodes] == list(case.contexts)
    assert watched.handler.counts() == AnswerCounts(answers=1, submitted=1)
    if isinstance(watched.handler, PiInstrumentationHandler):
        assert score.name == type(engine).__name__


async def test_engines_inside_that_stream(watched: Watched) -> None:
    """What is streamed to the router, which reads it all, is no answer of its own."""
    tools = [QueryEngineTool.from_defaults(query_engine(streaming=True, **watched.given)) for _ in range(2)]
    llm = Talker(answer="outer", **watched.given)
    summarizer = TreeSummarize(llm=llm, **watched.given)
    engine = RouterQueryEngine(Selecting(2), tools, llm=llm, summarizer=summarizer)
    assert queried(engine)[1] == "outer"
    assert await watched.scorer.aflush(10)
    assert [score.llm_output for score in watched.scorer.sink.scores] == ["outer"]  # type: ignore[attr-defined]
    assert watched.handler.counts() == AnswerCounts(answers=1, submitted=1)
