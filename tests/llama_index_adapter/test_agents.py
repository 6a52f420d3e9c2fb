"""Agents and workflows under PiInstrumentationHandler: one score per run, of the whole answer to the real question."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from in_memory_engines import ANSWER, PASSAGES, Talker, query_engine
from live_answers import (
    ASKED,
    FOUND,
    TOLD,
    Watched,
    calls,
    function_agent,
    look_up,
    model,
    react_agent,
    says,
    watching,
)
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.base.response.schema import AsyncStreamingResponse, Response
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.tools import FunctionTool, QueryEngineTool
from llama_index.core.workflow import Context, Event, StartEvent, StopEvent, Workflow, step
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel
from workflows.errors import WorkflowCancelledByUser, WorkflowRuntimeError, WorkflowTimeoutError

from pi_integrations import AsyncPiClient
from pi_integrations.llama_index import AnswerCounts

# LlamaIndex's own, when it looks an agent's steps up, and within ReActAgent.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore::pydantic.warnings.PydanticDeprecatedSince211",
    "ignore:is_running called from within a step:DeprecationWarning",
)

CONTEXT = f"### Context\n[1] {FOUND}"
HISTORY = "### Conversation so far\nuser: Hello\nassistant: Hello!"
EARLIER = [ChatMessage(role="user", content="Hello"), ChatMessage(role="assistant", content="Hello!")]


@pytest.fixture
def watched(client: AsyncPiClient) -> Iterator[Watched]:
    with watching(client) as watched:
        yield watched


def agent_workflow(**given: Any) -> AgentWorkflow:
    agent = function_agent(name="clerk", description="Answers", **given)
    return AgentWorkflow(agents=[agent], root_agent="clerk")


AGENTS = [function_agent, react_agent, agent_workflow]


@pytest.fixture(params=AGENTS, ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param  # type: ignore[no-any-return]


class TestEveryAgent:
    """FunctionAgent, ReActAgent and AgentWorkflow, with a model that calls a tool."""

    @pytest.mark.parametrize("streaming", [True, False])
    async def test_run(self, watched: Watched, make: Callable[..., Any], streaming: bool) -> None:
        """The real question, what the tool found, and every word of the answer."""
        agent = make(streaming=streaming)
        output = await agent.run(ASKED)
        assert output.response.content == TOLD
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (f"{CONTEXT}\n\n### Input\n{ASKED}", TOLD)
        assert score.name == type(agent).__name__
        assert score.metadata["run_id"].startswith(f"{score.name}.run-")
        assert watched.counts() == AnswerCounts(answers=1, submitted=1)

    async def test_started_with_a_conversation(self, watched: Watched, make: Callable[..., Any]) -> None:
        """Without user_msg, the last thing the user said is the question, whatever other texts are settings."""
        conversation = [*EARLIER, ChatMessage(role="user", content=ASKED)]
        await make().run(chat_history=conversation, early_stopping_method="generate")
        assert [score.llm_input for score in watched.scores()] == [f"{HISTORY}\n\n{CONTEXT}\n\n### Input\n{ASKED}"]

    async def test_memory(self, watched: Watched, make: Callable[..., Any]) -> None:
        """Earlier turns out of the memory that the run is given."""
        memory = ChatMemoryBuffer.from_defaults(chat_history=list(EARLIER))
        await make().run(ChatMessage(role="user", content=ASKED), memory=memory)
        assert [score.llm_input for score in watched.scores()] == [f"{HISTORY}\n\n{CONTEXT}\n\n### Input\n{ASKED}"]

    async def test_events_reach_the_user(self, watched: Watched, make: Callable[..., Any]) -> None:
        """Streaming a run gives the same events with the handler as without it."""

        async def kinds() -> list[str]:
            run = make().run(ASKED)
            found = [type(event).__name__ async for event in run.stream_events()]
            await run
            return found

        heard = await kinds()
        watched.handler.uninstall()
        assert heard == await kinds()
        assert {"AgentStream", "ToolCallResult", "StopEvent"} <= set(heard)
        assert watched.counts() == AnswerCounts(answers=1, submitted=1)

    async def test_cancelled(self, watched: Watched, make: Callable[..., Any]) -> None:
        """A run cancelled while its events are read is incomplete, not scored, and hides nothing that follows."""
        run = make().run(ASKED)
        async for event in run.stream_events():
            if isinstance(event, AgentStream | ToolCallResult):
                await run.cancel_run()
                break
        with pytest.raises(WorkflowCancelledByUser):
            await run
        assert watched.counts() == AnswerCounts(answers=1, incomplete=1)
        await make().run(ASKED)
        assert [score.llm_output for score in watched.scores()] == [TOLD]

    async def test_failed(self, watched: Watched, make: Callable[..., Any]) -> None:
        """A run that raises is counted apart and not scored."""
        with pytest.raises(WorkflowRuntimeError, match="Max iterations"):
            await make().run(ASKED, max_iterations=1)
        assert watched.counts() == AnswerCounts(failed=1)
        assert watched.scores() == []

    def test_threads(self, watched: Watched, make: Callable[..., Any]) -> None:
        """Runs in short-lived loops of 4 threads, two at a time in each: as many scores as answers."""

        async def two(number: int) -> None:
            await asyncio.gather(make().run(f"{number} a"), make().run(f"{number} b"))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: asyncio.run(two(number)), range(6)))
        asked = sorted(score.llm_input.rpartition("\n")[2] for score in watched.scores())
        assert asked == sorted(f"{number} {letter}" for number in range(6) for letter in "ab")


class TestInsideAnAgent:
    """What its tools ask is not an answer that the user sees."""

    def tools(self) -> dict[str, Any]:
        engine = query_engine(Talker(answer="inner"))

        def ask(input: str) -> str:
            """Asks the index, in a thread."""
            return str(engine.query(input))

        async def aask(input: str) -> str:
            """Asks a chat engine."""
            memory = ChatMemoryBuffer.from_defaults()
            return str(await SimpleChatEngine.from_defaults(llm=Talker(answer="inner"), memory=memory).achat(input))

        async def delegate(input: str) -> str:
            """Asks another agent."""
            return str(await FunctionAgent(tools=[], llm=says("inner")).run(input))

        return {
            "engine": QueryEngineTool.from_defaults(engine, name="tool", description="Asks the index"),
            "thread": FunctionTool.from_defaults(ask, name="tool"),
            "chat": FunctionTool.from_defaults(async_fn=aask, name="tool"),
            "agent": FunctionTool.from_defaults(async_fn=delegate, name="tool"),
        }

    @pytest.mark.parametrize("kind", ["engine", "thread", "chat", "agent"])
    async def test_one_score(self, watched: Watched, kind: str) -> None:
        """A query, in a task or a thread, a chat or a run of another agent inside it: the outer answer alone."""
        llm = calls("tool", "outer", input="How long?")
        await FunctionAgent(tools=[self.tools()[kind]], llm=llm).run(ASKED)
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (f"### Context\n[1] inner\n\n### Input\n{ASKED}", "outer")
        assert watched.counts() == AnswerCounts(answers=1, submitted=1)

    @pytest.mark.parametrize("alone", [True, False], ids=["agent", "workflow"])
    async def test_a_tool_whose_output_is_the_answer(self, watched: Watched, alone: bool) -> None:
        """What the tools said before that is context, too."""

        def price(subject: str) -> str:
            return "Repairs are free."

        def answer(messages: Sequence[ChatMessage]) -> ChatMessage:
            name = "look_up" if messages[-1].role == "tool" else "price"
            call = ToolCallBlock(tool_call_id=name, tool_name=name, tool_kwargs={"subject": "repairs"})
            return ChatMessage(role="assistant", blocks=[TextBlock(text=""), call])

        tools = [FunctionTool.from_defaults(price), FunctionTool.from_defaults(look_up, return_direct=True)]
        agent = FunctionAgent(tools=tools, llm=model(answer), name="clerk", description="Answers")
        await (agent if alone else AgentWorkflow(agents=[agent])).run(ASKED)
        (score,) = watched.scores()
        assert score.llm_output == FOUND
        assert score.llm_input == f"### Context\n[1] Repairs are free.\n\n[2] {FOUND}\n\n### Input\n{ASKED}"

    async def test_what_a_failing_tool_said_is_context_too(self, watched: Watched) -> None:
        """So that a question may ask whether the answer told of it; the query that failed is not a failed answer."""

        def fail(input: str) -> str:
            raise ConnectionError("the shelf is down")

        llm = calls("fail", "outer", input="How long?")
        await FunctionAgent(tools=[FunctionTool.from_defaults(fail)], llm=llm).run(ASKED)
        (score,) = watched.scores()
        assert score.llm_input == f"### Context\n[1] the shelf is down\n\n### Input\n{ASKED}"
        assert watched.counts() == AnswerCounts(answers=1, submitted=1)

    async def test_a_handoff(self, watched: Watched) -> None:
        """Of agents that hand over to one another, the last one's answer to the first one's question."""
        clerk = FunctionAgent(
            name="clerk",
            description="Listens",
            tools=[look_up],
            llm=calls("handoff", to_agent="expert", reason="repairs"),
            can_handoff_to=["expert"],
        )
        expert = function_agent(name="expert", description="Knows")
        await AgentWorkflow(agents=[clerk, expert], root_agent="clerk").run(ASKED)
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (f"{CONTEXT}\n\n### Input\n{ASKED}", TOLD)

    async def test_a_system_prompt_is_part_of_the_exchange(self, watched: Watched) -> None:
        """An agent's own, so that questions about following instructions make sense."""
        await FunctionAgent(tools=[], llm=says("A week."), system_prompt="Be brief.").run(ASKED)
        (score,) = watched.scores()
        assert score.llm_input == f"### System prompt\nBe brief.\n\n### Input\n{ASKED}"

    @pytest.mark.parametrize("llm", [says("A week."), Talker(answer="Thought: I know.\nAnswer: A week.")])
    async def test_a_workflow_of_one_agent_has_the_system_prompt_of_the_agent(self, watched: Watched, llm: Any) -> None:
        """However it was made."""
        agent = FunctionAgent if llm.metadata.is_function_calling_model else ReActAgent
        await AgentWorkflow(agents=[agent(tools=[], llm=llm, system_prompt="Be brief.")]).run(ASKED)
        await AgentWorkflow.from_tools_or_functions([look_up], llm=llm, system_prompt="Be brief.").run(ASKED)
        inputs = [score.llm_input for score in watched.scores()]
        assert inputs == [f"### System prompt\nBe brief.\n\n### Input\n{ASKED}"] * 2

    @pytest.mark.parametrize("handed_over", [True, False])
    async def test_a_workflow_of_several_agents_has_that_of_the_one_that_answered(
        self, watched: Watched, handed_over: bool
    ) -> None:
        """The other agent's instructions were not given to it."""
        llm = calls("handoff", to_agent="expert", reason="repairs") if handed_over else says("A week.")
        listens = {"name": "clerk", "description": "Listens", "system_prompt": "Hand over, never answer."}
        knows = {"name": "expert", "description": "Knows", "system_prompt": "Be brief."}
        agents = [FunctionAgent(tools=[], llm=llm, **listens), FunctionAgent(tools=[], llm=says("A week."), **knows)]
        output = await AgentWorkflow(agents=agents, root_agent="clerk").run(ASKED)
        assert output.current_agent_name == ("expert" if handed_over else "clerk")
        told = knows["system_prompt"] if handed_over else listens["system_prompt"]
        assert [score.llm_input for score in watched.scores()] == [f"### System prompt\n{told}\n\n### Input\n{ASKED}"]

    async def test_a_workflow_with_agents_of_another_kind(self, watched: Watched) -> None:
        """They are no agents of LlamaIndex's, and its answer is scored as any other."""

        class Desk(Returning):
            agents = 3
            root_agent = "clerk"

        await Desk(lambda: "A week.").run(query=ASKED)
        assert [(score.name, score.llm_input) for score in watched.scores()] == [("Desk", ASKED)]

    async def test_a_structured_answer_without_text(self, watched: Watched) -> None:
        """Is scored as JSON."""

        class Duration(BaseModel):
            weeks: int

        agent = FunctionAgent(tools=[], llm=says(""), structured_output_fn=lambda _: {"weeks": 1})
        await agent.run(ASKED)
        assert [score.llm_output for score in watched.scores()] == ['{"weeks": 1}']


class Returning(Workflow):
    """Ends in whatever `make` returns."""

    def __init__(self, make: Callable[[], Any], **given: Any) -> None:
        super().__init__(**given)
        self._make = make

    @step
    async def only(self, event: StartEvent) -> StopEvent:
        made = self._make()
        return StopEvent(result=await made if asyncio.iscoroutine(made) else made)


NODES = [NodeWithScore(node=TextNode(text=text)) for text in PASSAGES]
WITH_NODES = f"### Context\n[1] {PASSAGES[0]}\n\n[2] {PASSAGES[1]}\n\n### Input\n{ASKED}"


class TestWorkflows:
    """Any workflow that is asked something and ends in an answer."""

    @pytest.mark.parametrize(
        ("result", "llm_input"),
        [
            ("A week.", ASKED),
            (Response("A week.", NODES), WITH_NODES),
            (ChatMessage(role="assistant", content="A week."), ASKED),
            ({"answer": "A week.", "source_nodes": NODES}, WITH_NODES),
            ({"response": Response("A week.", NODES), "seconds": 3}, WITH_NODES),
            ({"output": "A week.", "contexts": list(PASSAGES)}, WITH_NODES),
            ({"output": "A week.", "contexts": FOUND}, f"{CONTEXT}\n\n### Input\n{ASKED}"),
            ({"output": "A week.", "source_nodes": [], "contexts": list(PASSAGES)}, WITH_NODES),
            ({"output": {"steps": 3}, "result": "A week."}, ASKED),
            ({"response": 200, "answer": "A week."}, ASKED),
            ({"response": "", "answer": "A week."}, ASKED),
            (AgentOutput(response=ChatMessage(content="A week."), current_agent_name="clerk"), ASKED),
        ],
        ids=[
            "str",
            "Response",
            "ChatMessage",
            "answer",
            "response",
            "output",
            "one context",
            "no source nodes",
            "a report beside it",
            "a number beside it",
            "an empty text beside it",
            "AgentOutput",
        ],
    )
    async def test_results(self, watched: Watched, result: Any, llm_input: str) -> None:
        """The shapes in which an answer may come, with its contexts where it has any."""
        await Returning(lambda: result).run(query=ASKED)
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output, score.name) == (llm_input, "A week.", "Returning")

    @pytest.mark.parametrize("name", ["user_msg", "query", "question", "message", "input", "query_str", "prompt"])
    async def test_questions(self, watched: Watched, name: str) -> None:
        """The names under which a start event may hold the question, beside other texts."""
        await Returning(lambda: "A week.").run(**{name: ASKED, "language": "en"})
        assert [score.llm_input for score in watched.scores()] == [ASKED]

    async def test_the_only_text_is_the_question(self, watched: Watched) -> None:
        """Whatever it is called."""
        await Returning(lambda: "A week.").run(topic=ASKED, pages=3)
        assert [score.llm_input for score in watched.scores()] == [ASKED]

    async def test_no_clear_question(self, watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
        """An answer to nobody knows what is not scored; the log says once what to do."""
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                await Returning(lambda: "A week.").run(topic="repairs", language="en")
        assert watched.counts() == AnswerCounts(answers=2, errors=2)
        assert sum("name the field one of user_msg, query" in record.message for record in caplog.records) == 1

    @pytest.mark.parametrize("result", [None, 42, {"rows": 3}, ["a"]])
    async def test_what_is_no_answer(self, watched: Watched, result: Any) -> None:
        """A workflow that ends in something else is none of our business."""
        await Returning(lambda: result).run(query=ASKED)
        assert watched.counts() == AnswerCounts()

    async def test_events_of_its_own(self, watched: Watched) -> None:
        """Start and stop events with fields."""

        class Ask(StartEvent):
            question: str
            language: str

        class Told(StopEvent):
            answer: str

        class Own(Workflow):
            @step
            async def only(self, event: Ask) -> Told:
                return Told(answer="A week.")

        await Own().run(start_event=Ask(question=ASKED, language="en"))
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (ASKED, "A week.")

    async def test_a_stream(self, watched: Watched) -> None:
        """A workflow that ends in a streamed response is scored when the user has read it."""
        response = await Returning(lambda: query_engine(streaming=True).aquery(ASKED)).run(query=ASKED)
        assert isinstance(response, AsyncStreamingResponse)
        assert watched.counts() == AnswerCounts(answers=1, streaming=1)
        assert "".join([piece async for piece in response.async_response_gen()]) == ANSWER
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (WITH_NODES, ANSWER)

    async def test_several_steps_and_a_workflow_inside(self, watched: Watched) -> None:
        """Queries in its steps, side by side and in an inner workflow, are not answers of their own."""

        class Part(Event):
            number: int

        class Done(Event):
            text: str

        class Outer(Workflow):
            @step
            async def split(self, context: Context, event: StartEvent) -> Part | None:
                for number in range(3):
                    context.send_event(Part(number=number))
                return None

            @step(num_workers=3)
            async def work(self, event: Part) -> Done:
                inner = Returning(lambda: query_engine(Talker(answer="inner")).aquery("inner?"))
                return Done(text=str(await inner.run(query="inner?")))

            @step
            async def join(self, context: Context, event: Done) -> StopEvent | None:
                parts = context.collect_events(event, [Done] * 3)
                return None if parts is None else StopEvent(result=" ".join(part.text for part in parts))

        await Outer().run(query=ASKED)
        (score,) = watched.scores()
        assert (score.llm_input, score.llm_output) == (ASKED, "inner inner inner")
        assert watched.counts() == AnswerCounts(answers=1, submitted=1)

    async def test_a_timeout_is_a_failure(self, watched: Watched) -> None:
        """It raises to the user, and is not scored."""
        with pytest.raises(WorkflowTimeoutError):
            await Returning(lambda: asyncio.sleep(60), timeout=0.05).run(query=ASKED)
        assert watched.counts() == AnswerCounts(failed=1)

    async def test_tags(self, watched: Watched) -> None:
        """The application's own; those that LlamaIndex adds repeat the question, cut short."""
        with instrument_tags({"customer": "c-7"}):
            await Returning(lambda: "A week.").run(query=ASKED)
        (score,) = watched.scores()
        assert (score.tags, score.metadata["tags"]) == (("customer=c-7",), {"customer": "c-7"})


class TestNothingIsLeftBehind:
    """Handlers are the process's own, and live long."""

    def test_uninstall_takes_everything_away(self, client: AsyncPiClient) -> None:
        """Both lists of the dispatcher are what they were; events, one a piece of a stream, are left alone."""
        root = get_dispatcher("root")
        before = (list(root.event_handlers), list(root.span_handlers))
        with watching(client) as watched:
            assert (len(root.event_handlers), len(root.span_handlers)) == (len(before[0]), len(before[1]) + 1)
            watched.handler.install()
            assert len(root.span_handlers) == len(before[1]) + 1
        assert (root.event_handlers, root.span_handlers) == before
        asyncio.run(_run(function_agent()))
        assert watched.counts() == AnswerCounts()

    def test_nothing_grows(self, client: AsyncPiClient) -> None:
        """After hundreds of queries, chats closed early and runs, there are no more of our objects."""
        with watching(client, sample_rate=0.0) as watched:

            def mixed() -> None:
                query_engine().query(ASKED)
                chat = SimpleChatEngine.from_defaults(llm=Talker(), memory=ChatMemoryBuffer.from_defaults())
                stream = chat.stream_chat(ASKED).response_gen
                next(stream)
                stream.close()

            def ours() -> int:
                gc.collect()
                return sum("pi_integrations.llama_index" in str(type(each).__module__) for each in gc.get_objects())

            mixed()
            before = ours()
            for _ in range(300):
                mixed()
            asyncio.run(_many(20))
            assert ours() <= before
            spans = watched.handler
            assert not spans.open_spans and not spans.completed_spans and not spans.dropped_spans
            assert watched.counts().answers == 2 * 301 + 20

    def test_a_thousand_installs(self, client: AsyncPiClient) -> None:
        """A handler per request leaves no variable behind in the thread's context."""
        with watching(client) as watched:
            before = len(contextvars.copy_context())
            for _ in range(1000):
                watched.handler.uninstall()
                watched.handler.install()
            query_engine().query(ASKED)
            assert len(contextvars.copy_context()) <= before + 1

    def test_threads_end(self, watched: Watched) -> None:
        """The handler starts none for what it sees."""
        asyncio.run(_many(2))
        watched.scores()
        before = threading.active_count()
        asyncio.run(_many(5))
        watched.scores()
        assert threading.active_count() <= before


async def _run(agent: Any) -> None:
    await agent.run(ASKED)


async def _many(count: int) -> None:
    for _ in range(count):
        await Returning(lambda: "A week.").run(query=ASKED)
