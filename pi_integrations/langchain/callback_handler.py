"""`PiScoreCallbackHandler`: scores for live LangChain and LangGraph traffic, by LangChain's callbacks."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langsmith.run_helpers import get_current_run_tree

from pi_integrations.background import BackgroundScorer, Tally, WarnOnce
from pi_integrations.background.absorbed_errors import ABSORBED_ERRORS, is_ctrl_c, kind_of
from pi_integrations.client.loop_thread import NotCopied
from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.abandoned_runs import FALLBACKS, when_abandoned
from pi_integrations.langchain.captured import Captured
from pi_integrations.langchain.conversations import Conversations
from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.langchain.interrupts import told_of_interrupts
from pi_integrations.langchain.open_runs import OpenRun, OpenRuns
from pi_integrations.langchain.reading import Reading, read_run
from pi_integrations.langchain.run_answers import closed_early, is_resumed, model_output
from pi_integrations.langchain.run_counts import RunCounts
from pi_integrations.langchain.texts import Key

__all__ = ["PiScoreCallbackHandler"]

logger = logging.getLogger("pi_integrations.langchain")


class PiScoreCallbackHandler(NotCopied, BaseCallbackHandler):
    """Submits the answer of every finished run to a `BackgroundScorer`, without slowing the run.

    One score per answer that a user sees. By default that is the outcome of a root run: a chain, an agent, a graph or a
    model that the application called, with whatever ran inside it. Streamed answers are submitted when the user has
    read them to the end, those of a graph that is interrupted and resumed once. Documents that retrievers found inside
    the run become the contexts of the exchange, unless inputs or outputs hold `contexts` or `context`; of an agent,
    what its tools returned. Nothing it does raises into the application; what goes wrong is counted and logged once per
    kind. Answers are read after the run has returned, as they were then; before it, those that hold what cannot be
    kept, and functions given as keys are called.

    The run's name and tags go to the scorer, and its metadata with `run_id`, `trace_id` (where it is known) and
    `response_id` (the id of the model's message).

    Args:
        scorer: Scores the answers; close it yourself.
        level: Which runs are answers: `root`, those that are inside no other run this handler sees; `llm`, every call
            of a model; or names of runs, such as `["rag_chain"]`. Of runs within each other, the outermost.
        input_key: Where the input is in a run's inputs: a name, or a function of the inputs; as for `PiRunEvaluator`.
        output_key: Where the answer is in a run's outputs: a name, or a function of the outputs.
        context_key: Where retrieved passages are: a name in the outputs or else the inputs, or a function of the
            outputs.
        max_open_runs: Answers being made at a time, at most 10,000 by default; beyond, the oldest counts as incomplete.

    Raises:
        PiUsageError: when an argument is wrong.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from pi_integrations import embedded
        from pi_integrations.background import BackgroundScorer, MemorySink
        from pi_integrations.langchain import PiScoreCallbackHandler

        model = FakeListChatModel(responses=["It left our warehouse this morning."])
        rubric = [{"question": "Does the answer say where the order is?"}]
        sink = MemorySink()
        with embedded(judge="baseline") as client, BackgroundScorer(rubric, client=client, sink=sink) as scorer:
            handler = PiScoreCallbackHandler(scorer)
            model.invoke("Where is my order?", {"callbacks": [handler]})
            scorer.flush(timeout=10)
        print(sink.scores[0].result.total_score, handler.counts())
        ```
    """

    # On the thread of the run: LangChain skips other handlers' on_llm_start when an inline one, such as its tracer, is
    # attached, and has async handlers waited for.
    run_inline = True
    raise_error = False

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """LangGraph tells of interrupts what derives from a class of its own."""
        told: type[Any] = told_of_interrupts(cls)  # type: ignore[arg-type]  # classes are hashable
        return super().__new__(told)  # type: ignore[no-any-return]

    def __init__(
        self,
        scorer: BackgroundScorer,
        *,
        level: str | Sequence[str] = "root",
        input_key: Key | None = None,
        output_key: Key | None = None,
        context_key: Key | None = None,
        max_open_runs: int = 10_000,
    ) -> None:
        if isinstance(level, str) and level not in ("root", "llm"):
            raise PiUsageError(f"level is {level!r}; give 'root', 'llm', or a list with names of runs: [{level!r}]")
        if max_open_runs < 1:
            raise PiUsageError(f"max_open_runs is {max_open_runs}; it must be at least 1")
        self._scorer = scorer
        self._level = level if isinstance(level, str) else frozenset(level)
        self._reader = ExchangeReader(input_key, output_key, context_key=context_key)
        self._runs = OpenRuns(max_open_runs)
        self._conversations = Conversations()
        self._tally = Tally("submitted", "unanswered", "incomplete", "errors")
        self._warn = WarnOnce(logger)
        # Functions of the application's are called where it expects them: in its thread, before the run returns.
        self._is_at_once = any(map(callable, (input_key, output_key, context_key)))

    # Not `ignore_agent`, by which LangChain leaves out tools.
    ignore_retry = ignore_custom_event = True
    # Looked up before every callback: the base class has properties for them.
    ignore_llm = ignore_chat_model = ignore_chain = ignore_retriever = ignore_agent = False

    def counts(self) -> RunCounts:
        """What was seen so far; `runs == submitted + unanswered + incomplete + errors + open`."""
        self._scorer.catch_up()
        counts = self._tally.counts()
        runs = self._runs.begun
        return RunCounts(**counts, runs=runs, open=runs - sum(counts.values()))

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **run: Any
    ) -> None:
        """Called by LangChain on the application's thread, as is every method below."""
        if not self._runs.join(run_id, parent_run_id):
            kind = "chain" if run.get("run_type") in (None, "chain") else "step"
            self._begin(kind, inputs, run_id, parent_run_id, run, serialized)

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **run: Any
    ) -> None:
        """A chat model begins."""
        if not self._runs.join(run_id, parent_run_id):
            self._begin("llm", messages[0] if messages else [], run_id, parent_run_id, run, serialized)

    def on_llm_start(
        self, serialized: Any, prompts: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **run: Any
    ) -> None:
        """A plain model begins."""
        if not self._runs.join(run_id, parent_run_id):
            self._begin("llm", prompts[0] if prompts else "", run_id, parent_run_id, run, serialized)

    def on_tool_start(
        self, serialized: Any, input_str: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **run: Any
    ) -> None:
        """A tool begins."""
        if not self._runs.join(run_id, parent_run_id):
            self._begin("step", None, run_id, parent_run_id, run, serialized)

    def on_retriever_start(
        self, serialized: Any, query: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **run: Any
    ) -> None:
        """A retriever begins."""
        if not self._runs.join_retriever(run_id, parent_run_id):
            self._begin("step", None, run_id, parent_run_id, run, serialized)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **details: Any) -> None:
        """A chain, agent or graph ends; of a streamed one the inputs are known only now."""
        run = self._runs.end(run_id)
        if run is None or run.is_open:
            return
        if isinstance(outputs, BaseException):  # LangChain's batches take a cancellation for an output
            self._give_up(run)
        else:
            self._end(run, outputs, **details)

    def on_llm_end(self, response: Any, *, run_id: UUID, **details: Any) -> None:
        """A model ends."""
        run = self._runs.end(run_id)
        if run is None:
            return
        run.response = response
        if not run.is_open:
            self._end(run, response, is_model=True)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **details: Any) -> None:
        """A retriever ends; what one inside another found is that one's to choose from."""
        run = self._runs.end_retriever(run_id)
        if run is not None and isinstance(documents, list | tuple):  # what can be read only once is not ours to read
            run.documents.extend(documents)

    def on_tool_end(self, output: Any, *, run_id: UUID, **details: Any) -> None:
        """A tool ends."""
        self._runs.end(run_id)

    def on_chain_error(self, error: BaseException | None, *, run_id: UUID, **details: Any) -> None:
        """A run fails, or is cancelled, or its stream is closed."""
        run = self._runs.end(run_id)
        if run is not None and not run.is_open:
            self._give_up(run)

    on_llm_error = on_tool_error = on_retriever_error = on_chain_error

    def on_interrupt(self, event: Any) -> None:
        """Called by LangGraph: a graph stops to ask, and its run ends next."""
        try:
            run = None if event.run_id is None else self._runs.around(event.run_id)
        except ABSORBED_ERRORS as error:
            self._went_wrong(None, error)
            return
        if run is not None:
            run.is_interrupted = True

    def _begin(
        self,
        kind: str,
        inputs: Any,
        run_id: UUID,
        parent_run_id: UUID | None,
        details: Mapping[str, Any],
        serialized: Any,
    ) -> None:
        try:
            name = _name(details.get("name"), serialized)
            if not self._is_answer(kind, name):
                if self._level == "root":
                    self._runs.set_apart(run_id)
                return
            trace_id = run_id if parent_run_id is None else _trace_id()
            metadata = dict(details.get("metadata") or ())
            run = OpenRun(run_id, Captured(inputs), name, tuple(details.get("tags") or ()), metadata, trace_id)
            oldest = self._runs.begin(run)
            if oldest is not None:
                self._runs.let_go(oldest)
                self._tally.add("incomplete")
                self._warn("open", "Too many runs are open, and the oldest was given up: raise max_open_runs.")
            if kind == "llm" or FALLBACKS in sys.modules:
                when_abandoned(partial(self.on_chain_error, None, run_id=run_id))
        except ABSORBED_ERRORS as error:
            self._went_wrong(run_id, error)

    def _went_wrong(self, run_id: UUID | None, error: BaseException) -> None:
        """The answer that was being made is not known any more; counted as a run of its own where none was."""
        if run_id is None or self._runs.end(run_id) is None:
            self._runs.count()
        self._tally.add("errors")
        text = f"A callback went wrong, and an answer is not scored: {type(error).__name__}: {error}"
        self._warn(("callback", kind_of(error)), text, error)

    def _end(self, run: OpenRun, outputs: Any, *, is_model: bool = False, **details: Any) -> None:
        try:
            if "inputs" in details:
                if closed_early():
                    self._scorer.defer(self._tally.add, "incomplete")
                    return
                run.inputs = Captured(details["inputs"])
            run.documents = _texts(run.documents)
            self._conversations.attach(run)
            kept = self._kept(run, model_output(outputs) if is_model else outputs)
        except BaseException as error:
            self._unread(run, error)
            if not isinstance(error, ABSORBED_ERRORS):
                raise
        else:
            self._scorer.defer(self._finish, run, kept)

    def _kept(self, run: OpenRun, outputs: Any) -> Captured | None:
        """The outputs, to be read later; what cannot be kept is read before the application goes on."""
        if self._is_at_once:
            run.reading = read_run(self._reader, run, outputs)
            return None
        captured = Captured(outputs)
        if captured.is_whole and (run.inputs.is_whole or is_resumed(run.inputs.kept)):
            return captured
        run.reading = read_run(self._reader, run, captured.read())
        return None

    def _is_answer(self, kind: str, name: str | None) -> bool:
        if self._level == "llm":
            return kind == "llm"
        return kind in ("chain", "llm") and (self._level == "root" or name in self._level)

    def _give_up(self, run: OpenRun) -> None:
        try:
            run.documents = _texts(run.documents)
            self._conversations.attach(run, failed=True)
        except ABSORBED_ERRORS as error:
            self._unread(run, error)
        else:
            self._scorer.defer(self._tally.add, "incomplete")
            self._runs.let_go(run)

    def _finish(self, run: OpenRun, outputs: Captured | None) -> None:
        try:
            reading = run.reading if outputs is None else read_run(self._reader, run, outputs.read())
            self._tally.add("submitted" if self._submit(run, reading) else "unanswered")
        except BaseException as error:
            self._unread(run, error)
            if is_ctrl_c(error):
                raise
        else:
            self._runs.let_go(run)

    def _unread(self, run: OpenRun, error: BaseException) -> None:
        self._runs.let_go(run)
        self._tally.add("errors")
        self._warn(("answer", kind_of(error)), f"An answer was not scored: {type(error).__name__}: {error}", error)

    def _submit(self, run: OpenRun, reading: Reading) -> bool:
        exchange = self._conversations.new_answer(run, reading)
        if exchange is None:
            return False
        self._scorer.submit(**exchange, name=run.name, tags=run.tags, metadata=_metadata(run, reading))
        return True


def _name(given: str | None, serialized: Any) -> str | None:
    """What LangChain's tracers call the run: one of a model without a `run_name` comes without a name."""
    if given is not None or not serialized:
        return given
    name: str | None = serialized.get("name") or (serialized.get("id") or [None])[-1]
    return name


def _texts(documents: list[Any]) -> list[Any]:
    return [getattr(each, "page_content", each) for each in documents] if documents else documents


def _metadata(run: OpenRun, reading: Reading) -> dict[str, Any]:
    known = {"run_id": run.run_id, "trace_id": run.trace_id, "response_id": reading.response_id}
    return {**run.metadata, **{name: str(value) for name, value in known.items() if value is not None}}


def _trace_id() -> UUID | None:
    """The trace of a run that is no root, where LangSmith's tracing knows it."""
    tree = get_current_run_tree()
    return None if tree is None else tree.trace_id
