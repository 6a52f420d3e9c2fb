"""Earlier turns of agents and workflows: what was said, and not the examples that a step or tool gives to a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from in_memory_engines import PASSAGES, Shelf, Talker, in_thread, query_engine
from live_answers import ASKED, TOLD, Watched, calls, function_agent, react_agent, says, watching
from llama_index.core.agent.workflow import AgentWorkflow, CodeActAgent, FunctionAgent
from llama_index.core.agent.workflow.workflow_events import AgentWorkflowStartEvent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import (
    CondenseQuestionChatEngine,
    ContextChatEngine,
    MultiModalCondensePlusContextChatEngine,
    MultiModalContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step

from pi_integrations import AsyncPiClient
from pi_integrations.models import compose_llm_input

pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore::pydantic.warnings.PydanticDeprecatedSince211",
    "ignore:is_running called from within a step:DeprecationWarning",
)

EARLIER = [ChatMessage(role="user", content="Hello"), ChatMessage(role="assistant", content="Hello!")]
HISTORY = [("user", "Hello"), ("assistant", "Hello!")]
EXAMPLE = [
    ChatMessage(role="system", content="Answer as in the example."),
    ChatMessage(role="user", content="How long does a delivery take?"),
    ChatMessage(role="assistant", content="A day."),
]


@pytest.fixture
def watched(client: AsyncPiClient) -> Iterator[Watched]:
    with watching(client) as watched:
        yield watched


def remembering() -> ChatMemoryBuffer:
    return ChatMemoryBuffer.from_defaults(chat_history=list(EARLIER))


async def by_example(question: str) -> str:
    """What a model says that is given an example before the question."""
    response = await says("A week.").achat([*EXAMPLE, ChatMessage(role="user", content=question)])
    return response.message.content or ""


class Answering(Workflow):
    """Asks whatever it was made with."""

    def __init__(self, ask: Callable[[str], Any]) -> None:
        super().__init__()
        self._ask = ask

    @step
    async def answer(self, event: StartEvent) -> StopEvent:
        return StopEvent(result=await self._ask(event.query))


class StartedAsAnAgent(Workflow):
    """Takes what agents take, and is none."""

    @step
    async def answer(self, event: AgentWorkflowStartEvent) -> StopEvent:
        return StopEvent(result=await by_example(event.user_msg))


async def chat(question: str) -> Any:
    return await SimpleChatEngine.from_defaults(llm=says("A week."), memory=remembering()).achat(question)


async def agent(question: str) -> Any:
    return await FunctionAgent(tools=[], llm=says("A week.")).run(question, memory=remembering())


class TestWorkflows:
    """Theirs are in the start event, or there are none."""

    @pytest.mark.parametrize("ask", [by_example, chat, agent])
    async def test_what_a_step_gives_to_a_model_is_no_earlier_turn(self, watched: Watched, ask: Any) -> None:
        """Examples before the question, or the memory of a chat engine or agent inside."""
        await Answering(ask).run(query=ASKED)
        assert [score.llm_input for score in watched.scores()] == [ASKED]

    async def test_nor_is_it_with_the_start_event_of_agents(self, watched: Watched) -> None:
        """Whose memory is another matter."""
        await StartedAsAnAgent().run(start_event=AgentWorkflowStartEvent(user_msg=ASKED))
        assert [score.llm_input for score in watched.scores()] == [ASKED]

    @pytest.mark.parametrize("as_given", [list, tuple, lambda turns: [turn.model_dump() for turn in turns]])
    async def test_chat_history(self, watched: Watched, as_given: Any) -> None:
        """Messages, or mappings as a web page would send them; the example of the step stays out."""
        await Answering(by_example).run(query=ASKED, chat_history=as_given(EARLIER))
        assert [score.llm_input for score in watched.scores()] == [compose_llm_input(ASKED, history=HISTORY)]

    async def test_what_is_no_message_is_passed_over(self, watched: Watched) -> None:
        """With the turns that are messages, the answer is scored."""
        odd = [{"role": "clerk", "content": "Next!"}, {"text": "?"}, "Hello", 3, *EARLIER]
        await Answering(by_example).run(query=ASKED, chat_history=odd)
        assert [score.llm_input for score in watched.scores()] == [compose_llm_input(ASKED, history=HISTORY)]

    async def test_a_history_that_is_read_once_is_left_to_the_workflow(self, watched: Watched) -> None:
        """As a generator is."""
        turns = iter(EARLIER)
        await Answering(by_example).run(query=ASKED, chat_history=turns)
        assert [score.llm_input for score in watched.scores()] == [ASKED]
        assert list(turns) == EARLIER


def code_agent(**given: Any) -> CodeActAgent:
    return CodeActAgent(code_execute_fn=lambda code: "1", llm=says(TOLD), **given)


class Polite(SimpleChatEngine):
    """Has something to add to what the user says."""

    def chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> Any:
        return super().chat(f"Be polite. {message}", chat_history)


class PassesOn(SimpleChatEngine):
    """Does not look at what it is given."""

    def chat(self, *given: Any, **named: Any) -> Any:
        return super().chat(*given, **named)


class Renames(SimpleChatEngine):
    def chat(self, text: str, turns: list[ChatMessage] | None = None) -> Any:  # type: ignore[override]
        return super().chat(text, turns)


def multimodal(kind: Any) -> Any:
    return kind.from_defaults(Shelf(), multi_modal_llm=Talker(), memory=remembering(), system_prompt="Be kind.")


class TestChats:
    """The turns in their memory, or those that they are given."""

    @pytest.mark.parametrize("kind", [MultiModalContextChatEngine, MultiModalCondensePlusContextChatEngine])
    async def test_engines_that_write_the_question_into_a_prompt(self, watched: Watched, kind: Any) -> None:
        in_thread(lambda: multimodal(kind).chat(ASKED))
        in_thread(lambda: list(multimodal(kind).stream_chat(ASKED).response_gen))
        await multimodal(kind).achat(ASKED)
        given = {"history": HISTORY, "contexts": PASSAGES}
        assert [score.llm_input for score in watched.scores()] == [compose_llm_input(ASKED, **given)] * 3

    def test_an_engine_of_ones_own_that_adds_to_the_question(self, watched: Watched) -> None:
        Polite.from_defaults(llm=Talker(), memory=remembering()).chat(ASKED)
        assert [score.llm_input for score in watched.scores()] == [compose_llm_input(ASKED, history=HISTORY)]

    @pytest.mark.parametrize("kind", [ContextChatEngine, MultiModalContextChatEngine])
    def test_the_examples_of_a_retriever_that_rewrites_the_question(self, watched: Watched, kind: Any) -> None:
        """It gives them to a model with the question in a prompt, before the engine gives it the conversation."""

        class Rewriting(Shelf):
            def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
                says("repair time").chat([*EXAMPLE, ChatMessage(role="user", content=f"Rewrite: {query_bundle}")])
                return super()._retrieve(query_bundle)

        model = {"llm" if kind is ContextChatEngine else "multi_modal_llm": Talker()}
        in_thread(lambda: kind.from_defaults(Rewriting(), memory=remembering(), **model).chat(ASKED))
        given = {"history": HISTORY, "contexts": PASSAGES}
        assert [score.llm_input for score in watched.scores()] == [compose_llm_input(ASKED, **given)]

    @pytest.mark.parametrize("kind", [PassesOn, Renames])
    def test_an_engine_of_ones_own_with_other_arguments(self, watched: Watched, kind: Any) -> None:
        kind.from_defaults(llm=Talker(), memory=remembering()).chat(ASKED)
        kind.from_defaults(llm=Talker(), memory=ChatMemoryBuffer.from_defaults(chat_history=[])).chat(
            ASKED, list(EARLIER)
        )
        assert [score.llm_input for score in watched.scores()] == [compose_llm_input(ASKED, history=HISTORY)] * 2

    def test_lines_that_begin_like_a_turn_of_somebody_else(self, watched: Watched) -> None:
        """An engine that condenses writes its conversation as lines."""
        said = "From your order:\nmodel: X-200\nprice: 99 euros"
        memory = ChatMemoryBuffer.from_defaults(chat_history=[EARLIER[0], ChatMessage(role="assistant", content=said)])
        engine = CondenseQuestionChatEngine.from_defaults(query_engine(), llm=Talker(), memory=memory)
        in_thread(lambda: engine.chat(ASKED))
        given = {"history": [HISTORY[0], ("assistant", said)], "contexts": PASSAGES}
        assert [score.llm_input for score in watched.scores()] == [compose_llm_input(ASKED, **given)]


class TestAgents:
    """Theirs are in a memory, which their model is given."""

    @pytest.mark.parametrize("make", [function_agent, react_agent, code_agent])
    async def test_a_system_prompt_with_an_example(self, watched: Watched, make: Callable[..., Any]) -> None:
        """It is a system prompt."""
        await make(system_prompt="user: Hi\nassistant: Hi!").run(ASKED, memory=remembering())
        (score,) = watched.scores()
        assert score.llm_input.startswith(
            compose_llm_input("", system_prompt="user: Hi\nassistant: Hi!", history=HISTORY).partition("### Input")[0]
        )

    @pytest.mark.parametrize("alone", [True, False])
    async def test_what_a_tool_gives_to_a_model_is_no_earlier_turn(self, watched: Watched, alone: bool) -> None:
        """Though the agent's own call does not tell them, where LlamaIndex writes a state into the question."""
        tool = FunctionTool.from_defaults(async_fn=by_example, name="ask")
        made: Any = function_agent([tool], llm=calls("ask", question=ASKED))
        made = made if alone else AgentWorkflow(agents=[made])
        context = Context(made)
        await context.store.set("state", {"open": True})
        await made.run(ASKED, ctx=context)
        assert [score.llm_input for score in watched.scores()] == [compose_llm_input(ASKED, contexts=["A week."])]

    async def test_nor_is_the_memory_of_an_agent_inside(self, watched: Watched) -> None:
        """That a tool asks in the user's words."""

        async def delegate(question: str) -> str:
            return str(await agent(question))

        tool = FunctionTool.from_defaults(async_fn=delegate, name="ask")
        await function_agent([tool], llm=calls("ask", question=ASKED), initial_state={"open": True}).run(ASKED)
        assert [score.llm_input for score in watched.scores()] == [compose_llm_input(ASKED, contexts=["A week."])]
