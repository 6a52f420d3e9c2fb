"""What scoring live traffic costs the application: time on its own path, latency, and memory.

    python benchmarks/live_overhead.py [--runs 300] [--rounds 3] [--memory-runs 10000] [--seconds 15] [--full]
        [--only path|rate|memory]

The engine runs in another process, with the scripted judge. Times are taken of runs one after the other, when scoring
competes for the interpreter, and of runs at 5,000 a minute, when the processor has forgotten our code between two of
them. Beside ours stand, in the same run, the callbacks of the frameworks' own collectors, `RunCollectorCallbackHandler`
and `SimpleSpanHandler`, and ours with nothing in them: what the clock takes, and calling them at all. `--full` keeps
that rate up for a whole minute, and makes 100,000 runs for memory. Aims: inside our callbacks p50 below 500 µs and p99
below 2,000 µs per root run; nothing dropped; memory that grows no more with scoring on than off.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import socket
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from _tables import print_table
from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from llama_index.core import Document, SummaryIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScorer
from pi_integrations.langchain.callback_handler import PiScoreCallbackHandler
from pi_integrations.llama_index import PiInstrumentationHandler

RUBRIC = [{"question": f"Does the answer keep promise number {i}?", "label": f"promise {i}"} for i in range(5)]
QUESTION = "Where is my order?"
ANSWER = "It left our warehouse this morning and should be with you on Thursday. " * 8
PER_MINUTE = 5000


@dataclass(frozen=True)
class Pace:
    """A run every `every` seconds at most, whose model takes `model` seconds, in which background threads run."""

    title: str
    every: float
    model: float


BUSY = Pace("one after the other, a model that answers at once", 0.0, 0.0)
PACED = Pace(f"{PER_MINUTE:,} a minute, a model of 2 ms", 60 / PER_MINUTE, 0.002)
Run = Callable[[], Awaitable[object]]


def serve(pipe: Connection) -> None:
    """The engine, as `pi-integrations serve` runs it, with the scripted judge."""
    import uvicorn

    from pi_integrations.engine import EngineSettings, create_app
    from pi_integrations.testing import ScriptedJudge

    listening = socket.create_server(("127.0.0.1", 0))
    app = create_app(EngineSettings(judge=ScriptedJudge(default=0.7, record=False)))
    pipe.send(listening.getsockname()[1])
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


@contextmanager
def engine() -> Iterator[str]:
    """The URL of an engine in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


class Clock:
    """Seconds spent inside what it wraps, since it was last read."""

    def __init__(self) -> None:
        self._spent = 0.0

    def read(self) -> float:
        spent, self._spent = self._spent, 0.0
        return spent

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._spent += time.perf_counter() - started

        return timed


@dataclass(frozen=True)
class Watch:
    """How an application is watched.

    Attributes:
        scorer: Takes its answers; without one it is not watched.
        clock: Takes the time of the callbacks.
        how: `ours`; `empty`, ours with callbacks that do nothing; or `theirs`, the frameworks' own collectors.
    """

    scorer: BackgroundScorer | None = None
    clock: Clock = field(default_factory=Clock)
    how: str = "ours"

    def handler(self, ours: type, theirs: type, prefix: str) -> Any:
        """A handler with its callbacks on the clock."""
        kind = theirs if self.how == "theirs" else ours
        names = [name for name in dir(kind) if name.startswith(prefix)]
        callbacks = {name: nothing if self.how == "empty" else getattr(kind, name) for name in names}
        timed = {name: self.clock.around(callback) for name, callback in callbacks.items()}
        watching = type(kind)(kind.__name__, (kind,), timed)
        return watching() if kind is theirs else watching(self.scorer)


def nothing(*args: Any, **kwargs: Any) -> None:
    """An empty callback."""


class Shopkeeper(GenericFakeChatModel):
    """Calls a tool once, then answers; also takes a model's time."""

    seconds: float = 0.0

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        time.sleep(self.seconds)
        call = {"name": "look_up", "args": {"order": "17"}, "id": "1"}
        done = messages[-1].type == "tool"
        message = AIMessage(ANSWER) if done else AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])


def look_up(order: str) -> str:
    """Where an order is."""
    return "It left the warehouse."


def langchain_runs(watch: Watch, pace: Pace) -> dict[str, Run]:
    """A chain of a prompt, a model and a parser, and an agent with a tool."""
    model = FakeListChatModel(responses=[ANSWER], sleep=pace.model or None)
    chain = ChatPromptTemplate.from_template("Answer: {question}") | model | StrOutputParser()
    config: Any = (
        {"callbacks": [watch.handler(PiScoreCallbackHandler, RunCollectorCallbackHandler, "on_")]}
        if watch.scorer
        else {}
    )
    agent: Any = create_agent(Shopkeeper(messages=iter(()), seconds=pace.model), [look_up])

    async def sync() -> object:
        return chain.invoke({"question": QUESTION}, config)

    async def asynchronous() -> object:
        return await chain.ainvoke({"question": QUESTION}, config)

    async def tool_call() -> object:
        return agent.invoke({"messages": [("user", QUESTION)]}, config)

    return {"LangChain invoke": sync, "LangChain ainvoke": asynchronous, "LangChain agent": tool_call}


class Model(MockLLM):
    """LlamaIndex's mock, which also takes a model's time."""

    seconds: float = 0.0

    def complete(self, *args: Any, **kwargs: Any) -> Any:
        time.sleep(self.seconds)
        return super().complete(*args, **kwargs)

    async def acomplete(self, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return await super().acomplete(*args, **kwargs)


class Talker(MockFunctionCallingLLM):
    """LlamaIndex's mock that calls tools; calls one, then answers; also takes a model's time."""

    seconds: float = 0.0

    async def achat(self, messages: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return await super().achat(messages, **kwargs)


def talk(messages: list[ChatMessage], **kwargs: Any) -> ChatMessage:
    if messages[-1].role == "tool":
        return ChatMessage(role="assistant", content=ANSWER)
    call = ToolCallBlock(tool_call_id="1", tool_name="look_up", tool_kwargs={"order": "17"})
    return ChatMessage(role="assistant", blocks=[TextBlock(text=""), call])


@contextmanager
def llama_runs(watch: Watch, pace: Pace) -> Iterator[dict[str, Run]]:
    """A query engine over one document, and an agent with a tool."""
    model = Model()
    model.seconds = pace.model
    query_engine = SummaryIndex.from_documents([Document(text=ANSWER)]).as_query_engine(llm=model)
    talker = Talker(response_generator=talk, is_chat_model=True)
    talker.seconds = pace.model
    agent = FunctionAgent(tools=[look_up], llm=talker, streaming=False)

    async def sync() -> object:
        return query_engine.query(QUESTION)

    async def asynchronous() -> object:
        return await query_engine.aquery(QUESTION)

    async def tool_call() -> object:
        return await agent.run(QUESTION)

    runs: dict[str, Run] = {
        "LlamaIndex query": sync,
        "LlamaIndex aquery": asynchronous,
        "LlamaIndex agent": tool_call,
    }
    if not watch.scorer:
        yield runs
        return
    dispatcher = get_dispatcher("root")
    handlers = dispatcher.span_handlers
    dispatcher.span_handlers = [*handlers, watch.handler(PiInstrumentationHandler, SimpleSpanHandler, "span_")]
    try:
        yield runs
    finally:
        dispatcher.span_handlers = handlers


@contextmanager
def applications(watch: Watch, pace: Pace) -> Iterator[dict[str, Run]]:
    """Every kind of run."""
    with llama_runs(watch, pace) as llama:
        yield {**langchain_runs(watch, pace), **llama}


async def repeat(run: Run, times: int, clock: Clock, pace: Pace) -> tuple[list[float], list[float]]:
    """Seconds inside our code, and in all, for each of `times` runs, begun at `pace`."""
    inside, whole = [], []
    clock.read()
    for _ in range(times):
        started = time.perf_counter()
        await run()
        whole.append(time.perf_counter() - started)
        inside.append(clock.read())
        await asyncio.sleep(max(pace.every - whole[-1], 0))
    return inside, whole


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] * 1e6


@dataclass
class Seen:
    """Seconds of runs: inside our callbacks, empty ones and theirs, and of whole runs without and with ours."""

    inside: list[float] = field(default_factory=list)
    empty: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    off: list[float] = field(default_factory=list)
    on: list[float] = field(default_factory=list)


def on_path(url: str, runs: int, rounds: int, pace: Pace) -> dict[str, Seen]:
    """What each kind of run takes, all in turn so that a drift touches all."""
    seen: dict[str, Seen] = defaultdict(Seen)
    with BackgroundScorer(RUBRIC, client=AsyncPiClient(base_url=url)) as scorer:
        seen["submit alone"].inside = submits(scorer, runs, pace.every)
        watches = [Watch(), Watch(scorer, how="empty"), Watch(scorer, how="theirs"), Watch(scorer)]
        for _ in range(rounds):
            for watch in watches:
                with applications(watch, pace) as apps:
                    for name, run in apps.items():
                        inside, whole = asyncio.run(repeat(run, runs, watch.clock, pace))
                        scorer.flush(60)
                        add(seen[name], watch, inside, whole)
        assert scorer.counts().scored == (rounds * len(apps) + 1) * runs, scorer
    return dict(seen)


def add(seen: Seen, watch: Watch, inside: list[float], whole: list[float]) -> None:
    if watch.scorer is None:
        seen.off.extend(whole)
    elif watch.how != "ours":
        getattr(seen, watch.how).extend(inside)
    else:
        seen.inside.extend(inside)
        seen.on.extend(whole)


def submits(scorer: BackgroundScorer, times: int, every: float) -> list[float]:
    """Seconds of each `submit`."""
    spent = []
    for number in range(times):
        started = time.perf_counter()
        scorer.submit(llm_input=QUESTION, llm_output=ANSWER, name="chain", tags=("live",), metadata={"run": number})
        spent.append(time.perf_counter() - started)
        time.sleep(every)
    scorer.flush(60)
    return spent


def print_on_path(url: str, runs: int, rounds: int) -> None:
    """The tables of both paces."""
    for pace in (BUSY, PACED):
        seen = on_path(url, runs, rounds, pace)
        title = f"Inside our callbacks, µs per root run, {pace.title} (aim: p50 < 500, p99 < 2,000)"
        header = ["", "p50", "p99", "p50 of empty ones", "p50 without that", "p50 of theirs", "ours / theirs"]
        print_table(title, header, [inside(*each) for each in seen.items()])
        del seen["submit alone"]
        header = ["", "p50 off", "p50 on", "difference", "p99 off", "p99 on"]
        rows = [difference(name, each.off, each.on) for name, each in seen.items()]
        print_table(f"Whole run, µs, scoring off and on, {pace.title}", header, rows)


def inside(name: str, seen: Seen) -> list[str]:
    p50, p99 = (quantile(seen.inside, share) for share in (0.5, 0.99))
    if not seen.empty:
        return [name, f"{p50:.1f}", f"{p99:.1f}", "", "", "", ""]
    empty, theirs = quantile(seen.empty, 0.5), quantile(seen.theirs, 0.5)
    figures = (p50, p99, empty, p50 - empty, theirs)
    return [name, *(f"{each:.1f}" for each in figures), f"{p50 / theirs:.2f}"]


def difference(name: str, off: list[float], on: list[float]) -> list[str]:
    medians = [statistics.median(each) * 1e6 for each in (off, on)]
    p99 = [quantile(each, 0.99) for each in (off, on)]
    return [name, *(f"{each:.0f}" for each in (*medians, medians[1] - medians[0], *p99))]


def cpu_percent(cpu: float, seconds: float) -> str:
    return f"{cpu / seconds:.0%}"


async def paced(run: Run, seconds: float) -> int:
    """Starts runs at `PER_MINUTE` for `seconds`, whether earlier ones have ended or not; how many."""
    runs = int(PER_MINUTE * seconds / 60)
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(runs):
            await asyncio.sleep(max(started + number * 60 / PER_MINUTE - time.perf_counter(), 0))
            group.create_task(run())  # type: ignore[arg-type]
    return runs


def at_rate(url: str, seconds: float) -> None:
    """5,000 runs a minute, this process on one core."""
    rows = []
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    for name in ("LangChain ainvoke", "LlamaIndex aquery"):
        with BackgroundScorer(RUBRIC, client=AsyncPiClient(base_url=url)) as scorer:
            with applications(Watch(scorer), PACED) as watched:
                started, cpu = time.perf_counter(), time.process_time()
                runs = asyncio.run(paced(watched[name], seconds))
                scorer.flush(60)
                took, cpu = time.perf_counter() - started, time.process_time() - cpu
            counts = scorer.counts()
        figures = (runs, counts.scored, counts.failed, counts.dropped)
        rows.append([name, *(f"{each:,}" for each in figures), f"{runs / took * 60:,.0f}", cpu_percent(cpu, took)])
    os.sched_setaffinity(0, cores)
    header = ["", "runs", "scored", "failed", "dropped", "a minute", "CPU"]
    print_table(f"5,000 live runs a minute for {seconds:.0f} s, the application on one core", header, rows)


def resident_mib() -> float:
    gc.collect()
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def settled_runs(run: Run, runs: int, scorer: BackgroundScorer) -> None:
    for number in range(runs):
        await run()
        if number % 500 == 499:
            await scorer.aflush(60)
    await scorer.aflush(60)


def grown(url: str, name: str, runs: int, is_on: bool) -> list[str]:
    """Resident memory after each tenth of the runs, in MiB; how much of it came in the second half; the counts."""
    with BackgroundScorer(RUBRIC, client=AsyncPiClient(base_url=url)) as scorer:
        with applications(Watch(scorer) if is_on else Watch(), BUSY) as apps:
            seen = []
            for _ in range(10):
                asyncio.run(settled_runs(apps[name], runs // 10, scorer))
                seen.append(resident_mib())
        counts = scorer.counts()
    return [*(f"{each:.1f}" for each in seen), f"{seen[9] - seen[4]:.1f}", f"{counts.scored:,}", f"{counts.dropped:,}"]


def memory(url: str, runs: int) -> None:
    """What scoring adds to the memory of an application: each row in a process of its own, so that none inherits."""
    rows = []
    context = multiprocessing.get_context("spawn")
    for name in ("LangChain ainvoke", "LlamaIndex aquery"):
        for is_on in (False, True):
            with ProcessPoolExecutor(1, mp_context=context) as fresh:
                row = fresh.submit(grown, url, name, runs, is_on).result()
            rows.append([f"{name}, {'on' if is_on else 'off'}", *row])
    header = ["", *(f"{tenth}0 %" for tenth in range(1, 11)), "2nd half", "scored", "dropped"]
    print_table(f"Resident memory over {runs:,} runs, scoring off and on, MiB", header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="runs of each kind and round for the latencies")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-runs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=15.0, help="seconds at 5,000 runs a minute")
    parser.add_argument("--only", choices=["path", "rate", "memory"], help="one part alone; path: the latencies")
    parser.add_argument("--full", action="store_true", help="a whole minute, and 100,000 runs for memory")
    options = parser.parse_args()
    os.environ["LANGSMITH_TRACING"] = "false"
    with engine() as url:
        if options.only in (None, "path"):
            print_on_path(url, options.runs, options.rounds)
        if options.only in (None, "rate"):
            at_rate(url, 60.0 if options.full else options.seconds)
        if options.only in (None, "memory"):
            memory(url, 100_000 if options.full else options.memory_runs)


if __name__ == "__main__":
    main()
