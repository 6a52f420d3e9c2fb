"""`PiScoreCallbackHandler` on graphs that are interrupted and resumed: one score per answer, and of an answer."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt
from live_models import ANSWER, look_up, says
from questions import POLITE

from pi_integrations.background import BackgroundScorer, MemorySink
from pi_integrations.langchain import PiScoreCallbackHandler, RunCounts
from pi_integrations.langchain.captured import Captured
from pi_integrations.langchain.conversations import Conversations
from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.langchain.open_runs import OpenRun
from pi_integrations.langchain.reading import read_run
from pi_integrations.models import compose_llm_input
from pi_integrations.testing import ScriptedJudge, embedded

ASKED: Any = {"messages": [("user", "How long?")]}


class State(TypedDict, total=False):
    """Of a graph without messages."""

    question: str
    documents: list[Document]
    context: list[Document]
    answer: str


class Asks(AgentMiddleware[Any, Any, Any]):
    """Asks a person what becomes of the answer."""

    def after_agent(self, state: Any, runtime: Any) -> Any:
        """The person may put another text in its place."""
        text = interrupt("May it go out?")
        return {"messages": [AIMessage(text, id=state["messages"][-1].id)]} if text else None


@pytest.fixture(scope="module")
def scorer_and_sink() -> Iterator[tuple[BackgroundScorer, MemorySink]]:
    sink = MemorySink()
    with embedded(judge=ScriptedJudge(default=0.5)) as client:
        with BackgroundScorer([{"question": POLITE}], client=client, sink=sink) as scorer:
            yield scorer, sink


class Thread:
    """A conversation whose scores can be looked at."""

    def __init__(self, scorer: BackgroundScorer, sink: MemorySink) -> None:
        self._scorer, self._sink = scorer, sink
        self._before = len(sink.scores)
        self.watch()

    def watch(self, **options: Any) -> None:
        """With a new handler."""
        self._handler = PiScoreCallbackHandler(self._scorer, **options)

    def give(self, graph: Any, *given: Any, thread_id: str = "1") -> Any:
        """What the graph gives for the last of these."""
        config = {**self.config, "configurable": {"thread_id": thread_id}}
        return [graph.invoke(each, config) for each in given][-1]

    @property
    def config(self) -> Any:
        """Of the first conversation."""
        return {"callbacks": [self._handler], "configurable": {"thread_id": "1"}}

    @property
    def exchanges(self) -> list[tuple[str, str]]:
        assert self._scorer.flush(20)
        return [(score.llm_input, score.llm_output) for score in self._sink.scores[self._before :]]

    @property
    def counts(self) -> RunCounts:
        return self._handler.counts()


@pytest.fixture
def thread(scorer_and_sink: tuple[BackgroundScorer, MemorySink]) -> Thread:
    return Thread(*scorer_and_sink)


def guarded_agent(*answers: str | AIMessage) -> Any:
    return create_agent(says(*answers), middleware=[Asks()], checkpointer=InMemorySaver())


def graph(*nodes: Any, loop: bool = False) -> Any:
    """One node after the other, and in a loop the first again."""
    builder = StateGraph(State)
    builder.add_sequence([(f"node {number}", node) for number, node in enumerate(nodes)])
    builder.add_edge(START, "node 0")
    if loop:
        builder.add_edge(f"node {len(nodes) - 1}", "node 0")
    return builder.compile(checkpointer=InMemorySaver())


def retrieve(state: State) -> State:
    return {"documents": [Document("Repairs take a week.")]}


def answer(state: State) -> State:
    return {"answer": ANSWER}


def ask_first(state: State) -> State:
    interrupt("May I?")
    return {}


def test_an_agent_interrupted_after_its_answer_gives_one_score(thread: Thread) -> None:
    """The user saw it once, however often the graph goes on; the next answer is scored again."""
    agent = guarded_agent(ANSWER, "Good-bye.")
    thread.give(agent, ASKED, Command(resume=""))
    assert thread.exchanges == [("How long?", ANSWER)]
    assert thread.counts == RunCounts(runs=2, submitted=1, unanswered=1)
    thread.give(agent, {"messages": [("user", "Bye")]}, Command(resume=""))
    assert [text for _, text in thread.exchanges] == [ANSWER, "Good-bye."]


def test_an_agent_that_stops_after_its_model_gives_one_score(thread: Thread) -> None:
    """It goes on when it is given nothing."""
    agent = create_agent(says(ANSWER), checkpointer=InMemorySaver(), interrupt_after=["model"])
    thread.give(agent, ASKED, None)
    assert thread.exchanges == [("How long?", ANSWER)]


def test_an_answer_that_a_person_rewrote_is_another_answer(thread: Thread) -> None:
    """Though its message has the same id."""
    thread.give(guarded_agent(ANSWER), ASKED, Command(resume="A day."))
    assert thread.exchanges == [("How long?", ANSWER), ("How long?", "A day.")]


def test_the_same_message_in_other_conversations_is_scored_in_each(thread: Thread) -> None:
    """As a cache gives it, id included."""
    agent = create_agent(says(*[AIMessage(ANSWER, id="cached")] * 3), tools=[look_up], checkpointer=InMemorySaver())
    for number in range(3):
        thread.give(agent, ASKED, thread_id=str(number))
    assert thread.exchanges == [("How long?", ANSWER)] * 3


def test_a_graph_without_messages_is_scored_once_with_what_it_was_asked(thread: Thread) -> None:
    """Interrupted before and after its answer: neither is the question an answer, nor the command a question."""
    asked = {"question": "How long?"}
    thread.give(graph(ask_first, answer, ask_first), asked, Command(resume=1), Command(resume=1))
    assert thread.exchanges == [("How long?", ANSWER)]
    assert thread.counts == RunCounts(runs=3, submitted=1, unanswered=2)


@pytest.mark.parametrize("found", ["documents", "context"])
def test_what_was_retrieved_before_an_interrupt_is_no_answer(thread: Thread, found: str) -> None:
    """On the first run and on the next."""

    def search(state: State) -> Any:
        return {found: [Document("Repairs take a week.")]}

    thread.give(graph(search, ask_first, ask_first, answer), {"question": "How long?"}, Command(resume=1))
    assert thread.counts == RunCounts(runs=2, unanswered=2)


@pytest.mark.parametrize("asks", [1, 2])
def test_passages_found_before_an_interrupt_belong_to_the_answer_after_it(thread: Thread, asks: int) -> None:
    """Before those found later; the next question has its own."""

    def find_parts(state: State, config: RunnableConfig) -> State:
        OnePassage(text=f"Parts, {state['question']}").invoke("", config)
        return {}

    def find_repairs(state: State, config: RunnableConfig) -> State:
        OnePassage(text=f"Repairs, {state['question']}").invoke("", config)
        return {}

    retrieving = graph(find_parts, *[ask_first] * asks, find_repairs, answer)
    for question in ("How long?", "When?"):
        thread.give(retrieving, {"question": question}, *[Command(resume=1)] * asks)
    assert thread.exchanges == [
        (compose_llm_input(question, contexts=[f"Parts, {question}", f"Repairs, {question}"]), ANSWER)
        for question in ("How long?", "When?")
    ]


class OnePassage(BaseRetriever):
    """Finds a passage."""

    text: str

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [Document(self.text)]


def test_the_answer_of_the_turn_before_is_no_answer_to_the_next(thread: Thread) -> None:
    """It is in the state still when the graph is interrupted before it answered."""
    thread.give(graph(ask_first, answer), {"question": "How long?"}, Command(resume=1), {"question": "How much?"})
    assert thread.exchanges == [("How long?", ANSWER)]
    assert thread.counts == RunCounts(runs=3, submitted=1, unanswered=2)


def test_the_same_answer_that_a_model_wrote_again_is_scored_again(thread: Thread) -> None:
    """Of a graph whose answers have no ids."""
    model = says(ANSWER, ANSWER)
    replies = graph(lambda state: {"answer": model.invoke(state["question"]).text})
    thread.give(replies, {"question": "How long?"}, {"question": "How many days?"})
    assert thread.exchanges == [("How long?", ANSWER), ("How many days?", ANSWER)]


def test_keys_mean_entries_of_the_state_of_a_resumed_graph(thread: Thread) -> None:
    """As they do before it was interrupted."""
    thread.watch(input_key="question", output_key="answer", context_key="documents")
    thread.give(graph(retrieve, ask_first, answer), {"question": "How long?"}, Command(resume=1))
    assert thread.exchanges == [(compose_llm_input("How long?", contexts=["Repairs take a week."]), ANSWER)]
    assert thread.counts == RunCounts(runs=2, submitted=1, unanswered=1)


def test_keys_mean_entries_of_the_state_for_a_handler_that_saw_no_beginning(thread: Thread) -> None:
    """As in another process; without keys the usual names do."""
    interrupted = graph(ask_first, ask_first, answer)
    thread.give(interrupted, {"question": "How long?"}, thread_id="other")
    thread.watch(input_key=lambda state: state["question"].upper(), output_key=lambda state: "".join(state.values()))
    thread.give(interrupted, Command(resume=1), Command(resume=1), thread_id="other")
    thread.give(graph(ask_first, answer), {"question": "When?"}, thread_id="another")
    assert thread.exchanges == [("HOW LONG?", f"How long?{ANSWER}")]


def test_what_a_model_writes_after_the_answer_does_not_make_it_a_new_one(thread: Thread) -> None:
    """As the title of the conversation, once the graph goes on."""
    model = says("A title.")
    named = graph(ask_first, answer, ask_first, lambda _: model.invoke("Give it a title.") and {})
    thread.give(named, {"question": "How long?"}, Command(resume=1), Command(resume=1))
    assert thread.exchanges == [("How long?", ANSWER)]


def test_what_a_model_writes_before_an_interrupt_does_not_make_the_last_answer_a_new_one(thread: Thread) -> None:
    """As a plan, in the next turn of a graph whose questions are no messages."""

    class Talk(TypedDict, total=False):
        question: str
        messages: Annotated[list[Any], add_messages]

    model = says("A plan.", "A plan.")
    builder = StateGraph(Talk)
    steps: Any = [("plan", lambda _: model.invoke("Plan.") and {}), ("ask", ask_first)]
    builder.add_sequence([*steps, ("reply", lambda _: {"messages": [AIMessage(ANSWER)]})])
    builder.add_edge(START, "plan")
    talking = builder.compile(checkpointer=InMemorySaver())
    thread.give(talking, {"question": "How long?"}, Command(resume=1), {"question": "When?"})
    assert thread.counts == RunCounts(runs=3, submitted=1, unanswered=2)
    thread.watch()
    thread.give(talking, Command(resume=1))
    assert thread.exchanges == [("How long?", ANSWER), ("When?", ANSWER)]


def test_two_graphs_may_share_a_thread(thread: Thread) -> None:
    """Each answers for itself."""
    for name in ("first", "second"):
        thread.give(graph(answer).with_config(run_name=name), {"question": "How long?"})
    assert thread.exchanges == [("How long?", ANSWER)] * 2


def replies_to_its_question(state: State) -> State:
    return {"answer": f"{state['question']} A week."}


def asks_for_the_next(state: State) -> State:
    return {"question": interrupt("And?")}


def test_a_graph_that_asks_for_the_next_question_answers_each(thread: Thread) -> None:
    """Its state says by then which it is."""
    talk = graph(replies_to_its_question, asks_for_the_next, loop=True)
    thread.give(talk, {"question": "How long?"})
    for question in ("When?", "How much?"):
        thread.give(talk, Command(resume=question))
    assert thread.exchanges == [(each, f"{each} A week.") for each in ("How long?", "When?", "How much?")]


def fails_for_nobody(state: State) -> State:
    if state["question"] == "Nobody?":
        raise ConnectionError("nobody is there")
    return {}


@pytest.mark.parametrize("lost", ["Nobody?", "Anybody?"], ids=["failed", "left at an interrupt"])
def test_a_turn_that_came_to_nothing_harms_no_later_one(thread: Thread, lost: str) -> None:
    """Whose input sets the answer back, too."""
    asking = graph(fails_for_nobody, ask_first, replies_to_its_question)
    with suppress(ConnectionError):
        thread.give(asking, {"question": lost})
    for question in ("How long?", "When?"):
        thread.give(asking, {"question": question, "answer": ""})
        thread.give(asking, Command(resume=1))
    assert thread.exchanges == [(each, f"{each} A week.") for each in ("How long?", "When?")]


def test_what_a_graph_answers_again_after_an_interrupt_is_for_the_same_question(thread: Thread) -> None:
    """With the same passages, where its outputs say neither."""

    def draft(state: State, config: RunnableConfig) -> State:
        OnePassage(text="Repairs take a week.").invoke("", config)
        return {"answer": "Soon."}

    builder = StateGraph(State, output_schema=TypedDict("Out", {"answer": str}))
    builder.add_sequence([("draft", draft), ("ask", ask_first), ("reply", answer)])
    builder.add_edge(START, "draft")
    thread.give(builder.compile(checkpointer=InMemorySaver()), {"question": "How long?"}, Command(resume=1))
    asked = compose_llm_input("How long?", contexts=["Repairs take a week."])
    assert thread.exchanges == [(asked, "Soon."), (asked, ANSWER)]


def test_a_question_that_a_graph_rewrites_before_an_interrupt_is_scored_as_it_was_asked(thread: Thread) -> None:
    """As it is where nobody interrupts."""
    rewrites = graph(
        lambda state: {"question": "How long is it?", "documents": [Document("A week.")]}, ask_first, answer
    )
    thread.give(rewrites, {"question": "How long?"}, Command(resume=1))
    assert thread.exchanges == [("How long?", ANSWER)]


def silent_graph() -> Any:
    """A graph whose outputs do not say what it was asked."""
    builder = StateGraph(State, output_schema=TypedDict("Out", {"answer": str}))
    builder.add_sequence([("ask", ask_first), ("reply", lambda state: {"answer": f"{state['question']} A week."})])
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=InMemorySaver())


@entrypoint(checkpointer=InMemorySaver())
def workflow(question: str) -> str:
    """A graph that is a function."""
    interrupt("May I?")
    return f"{question} A week."


def test_what_a_graph_was_asked_is_remembered_until_it_answers(thread: Thread) -> None:
    """Where its outputs do not say."""
    resume: Any = Command(resume=1)
    thread.give(silent_graph(), {"question": "How long?"}, resume, {"question": "When?"}, resume)
    thread.give(workflow, "How long?", resume, "When?", resume, thread_id="2")
    assert thread.exchanges == [("How long?", "How long? A week."), ("When?", "When? A week.")] * 2
    assert thread.counts == RunCounts(runs=8, submitted=4, unanswered=4)


def test_a_resumed_graph_of_which_nobody_knows_what_it_was_asked_is_an_error(
    thread: Thread, caplog: pytest.LogCaptureFixture
) -> None:
    """As in another process than before; an answer to nothing would have another score."""
    for number, (graph, asked) in enumerate(((silent_graph(), {"question": "How long?"}), (workflow, "How long?"))):
        thread.watch()
        thread.give(graph, asked, thread_id=f"unknown {number}")
        thread.watch()
        thread.give(graph, Command(resume=1), thread_id=f"unknown {number}")
        assert thread.counts == RunCounts(runs=1, errors=1)
    assert "resume it with the handler that saw it begin" in caplog.text


class Planned(TypedDict, total=False):
    """Of a graph that plans before it answers."""

    question: str
    plan: str
    answer: str


def planning_graph(*, is_static: bool, output: Any = None) -> Any:
    """A model writes a plan, a person may look at it, and a model answers."""
    model = says("A plan.", "Blue.", "A plan.", "Big.", "A plan.", "Big.")

    def reply(state: Planned) -> Planned:
        if not is_static:
            interrupt("May I?")
        return {"answer": model.invoke(state["question"]).text}

    builder = StateGraph(Planned, output_schema=output)
    builder.add_sequence([("plan", lambda _: {"plan": model.invoke("Plan.").text}), ("reply", reply)])
    builder.add_edge(START, "plan")
    return builder.compile(checkpointer=InMemorySaver(), interrupt_before=["reply"] if is_static else None)


@pytest.mark.parametrize("is_static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("output", [None, TypedDict("Out", {"answer": str})], ids=["state", "answer alone"])
@pytest.mark.parametrize("options", [{}, {"input_key": "question", "output_key": "answer"}], ids=["plain", "keys"])
def test_a_model_that_writes_before_the_interrupt_does_not_bring_back_the_last_answer(
    thread: Thread, is_static: bool, output: Any, options: dict[str, Any]
) -> None:
    """Three turns, three scores, also of the same answer twice, and each with its own question."""
    thread.watch(**options)
    planning, resume = planning_graph(is_static=is_static, output=output), None if is_static else Command(resume=1)
    for question in ("Colour?", "Size?", "Weight?"):
        thread.give(planning, {"question": question}, resume)
    assert thread.exchanges == [("Colour?", "Blue."), ("Size?", "Big."), ("Weight?", "Big.")]
    assert thread.counts == RunCounts(runs=6, submitted=3, unanswered=3)


async def test_a_function_that_asks_before_it_returns_is_scored_when_it_does(thread: Thread) -> None:
    """Until then LangGraph gives what it returned the last time; sync and async."""
    model = says("Blue.", "Big.", "Old.", "New.")

    @entrypoint(checkpointer=InMemorySaver())
    def asking(question: str) -> str:
        text: str = model.invoke(question).text
        interrupt("May I?")
        return text if "?" in question else ""

    # The model writes again when the function goes on.
    thread.give(asking, "Colour?", Command(resume=1))
    config = thread.config
    await asking.ainvoke("Size?", config)
    await asking.ainvoke(Command(resume=1), config)
    assert thread.exchanges == [("Colour?", "Big."), ("Size?", "New.")]
    assert thread.counts == RunCounts(runs=4, submitted=2, unanswered=2)


class Added(TypedDict, total=False):
    """Messages as they come, without ids."""

    messages: Annotated[list[Any], operator.add]


@pytest.mark.parametrize("make", [AIMessage, lambda text: {"role": "assistant", "content": text}])
def test_the_same_answers_without_ids_are_scored_each(thread: Thread, make: Any) -> None:
    """They answer other questions."""
    builder = StateGraph(Added)
    builder.add_node("reply", lambda _: {"messages": [make("Yes.")]})
    builder.add_edge(START, "reply")
    replies = builder.compile(checkpointer=InMemorySaver())
    thread.give(replies, *({"messages": [("user", question)]} for question in ("Is it blue?", "Is it big?")))
    assert [answer for _, answer in thread.exchanges] == ["Yes.", "Yes."]


def test_a_chain_may_answer_a_conversation_the_same_twice(thread: Thread) -> None:
    """A `thread_id` in its metadata is the application's own."""
    opening = RunnableLambda(lambda _: "From nine to five.")
    config: Any = {**thread.config, "metadata": {"thread_id": "1"}}
    opening.batch(["When do you open?", "And close?"], {**config, "max_concurrency": 1})
    assert thread.exchanges == [(asked, "From nine to five.") for asked in ("When do you open?", "And close?")]


def test_a_graph_that_failed_and_goes_on_answers_what_it_was_asked(thread: Thread) -> None:
    """Though its outputs do not say, and the answer is the last one's."""
    fails = iter([False, True, False])

    def reply(state: State) -> State:
        if next(fails):
            raise ConnectionError("gone")
        return {"answer": ANSWER}

    builder = StateGraph(State, output_schema=TypedDict("Out", {"answer": str}))
    builder.add_node("reply", reply)
    builder.add_edge(START, "reply")
    failing = builder.compile(checkpointer=InMemorySaver())
    thread.give(failing, {"question": "How long?"})
    with pytest.raises(ConnectionError):
        thread.give(failing, {"question": "How many days?"})
    thread.give(failing, None)
    assert thread.exchanges == [("How long?", ANSWER), ("How many days?", ANSWER)]
    assert thread.counts == RunCounts(runs=3, submitted=2, incomplete=1)


def test_going_back_to_a_finished_checkpoint_is_no_answer(thread: Thread) -> None:
    """Nothing runs: it shows an answer that was given; to answer from an earlier one again is another."""
    agent = create_agent(says("A week.", "A day.", "An hour."), checkpointer=InMemorySaver())
    config: Any = thread.config
    for question in ("How long?", "Really?"):
        agent.invoke({"messages": [("user", question)]}, config)
    past = {(len(each.values["messages"]), each.next): each.config for each in agent.get_state_history(config)}
    agent.invoke(None, {**config, **past[2, ()]})
    assert thread.counts == RunCounts(runs=3, submitted=2, unanswered=1)
    agent.invoke(None, {**config, **past[3, ("model",)]})
    assert [answer for _, answer in thread.exchanges] == ["A week.", "A day.", "An hour."]


def test_a_named_graph_inside_another_is_scored_once_when_it_goes_on(thread: Thread) -> None:
    """LangGraph gives it what it was given at first, not a command, and ends it as if it had failed before."""
    thread.watch(level=["inner"])
    inner = create_agent(says(ANSWER), middleware=[Asks()], name="inner")
    builder = StateGraph(MessagesState)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    thread.give(builder.compile(checkpointer=InMemorySaver()), ASKED, Command(resume=""))
    assert thread.exchanges == [("How long?", ANSWER)]
    assert thread.counts == RunCounts(runs=2, submitted=1, incomplete=1)


def told(known: Conversations, name: str, inputs: Any, outputs: Any, **run: Any) -> bool:
    """Whether it is a new answer of the thread `name`."""
    opened = OpenRun(uuid4(), Captured(inputs), "graph", (), {"thread_id": name}, has_steps=True, **run)
    known.attach(opened)
    return known.new_answer(opened, read_run(ExchangeReader(), opened, outputs)) is not None


def test_a_question_is_remembered_where_langgraph_tells_of_no_interrupts() -> None:
    """As older versions of it do not."""
    known, asked = Conversations(), {"question": "How long?"}
    assert not told(known, "a", asked, dict(asked))
    assert told(known, "a", Command(resume=1), {"answer": ANSWER})


def test_no_more_conversations_are_remembered_than_the_limits() -> None:
    """The oldest are forgotten; texts of answers are not kept."""
    known, asked = Conversations(limit=2, open_limit=1), {"question": "How long?"}
    answers = [told(known, name, asked, {"answer": ANSWER}, is_interrupted=True) for name in "abacab"]
    assert answers == [True, True, False, True, False, True]
    assert not any(told(known, name, asked, dict(asked)) for name in "cd")
    assert len(known) == 3
    assert ANSWER not in str(vars(known))
