"""`BackgroundScorer`: takes exchanges from an application in microseconds, and scores them later."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from pi_integrations.background.at_exit import drain_at_exit
from pi_integrations.background.current_span import span_now
from pi_integrations.background.deadline import Deadline
from pi_integrations.background.exchange_queue import ExchangeQueue
from pi_integrations.background.filters import ExchangeFilter, Names, Tags
from pi_integrations.background.forks import reset_after_fork
from pi_integrations.background.ledger import ScorerCounts
from pi_integrations.background.sink_group import SinkGroup, SinksLike
from pi_integrations.background.sinks import BackgroundScore, MemorySink, ScoreSink
from pi_integrations.background.told import Told
from pi_integrations.background.trouble import TROUBLE
from pi_integrations.background.worker import Exchange
from pi_integrations.client import AsyncPiClient, PiClient
from pi_integrations.client.loop_thread import abandon, loop_thread
from pi_integrations.client.resources import SpecLike
from pi_integrations.client.rubric import Rubric
from pi_integrations.client.shared import Shared
from pi_integrations.errors import PiUsageError
from pi_integrations.models import AggregationMethod
from pi_integrations.models.wire import UnscoredPolicy
from pi_integrations.telemetry import linked_to
from pi_integrations.telemetry.switches import switched, tracing_switches

__all__ = ["BackgroundScorer"]


class BackgroundScorer(Shared):
    """Scores an application's live exchanges without making it wait, from any thread and any event loop.

    `submit` puts an exchange on a bounded queue and returns in microseconds; it never raises and never blocks. What
    does not fit is dropped and counted. When the interpreter exits, queued work gets `exit_timeout` seconds. A forked
    child starts with an empty queue and counts at 0, while the parent scores what the parent was given. Make one per
    process and rubric, and `close` it (or use it in a `with`): until then it keeps a thread.

    Args:
        scoring_spec: The rubric: a list of questions, or a dimension spec.
        client: Makes the scores; its retries, limits and cache apply, and it stays open. Default: a client for the
            endpoint in the environment.
        sink: Takes the scores: an object with `write(score)`, a function of the score, or a list of these, called in a
            thread of the scorer's own; default a `MemorySink`. A sink that fails costs the others nothing.
        sample_rate: Share of exchanges to score, in [0, 1], of those that the filters let through; default 1.
        names: Score only exchanges of these names, or of a name for which this function is true; default all.
        tags: Score only those with one of these tags, or with tags for which this function is true; default all.
        exclude_tags: Score none that has one of these tags, or tags for which this function is true; default none.
        max_queue: Exchanges waiting or being scored at a time, and as many that a handler saw and nobody read yet;
            default 10,000. Their texts stay in memory.
        max_concurrency: Scores asked for at a time; default 8.
        exit_timeout: Seconds that queued work may hold up the exit of the interpreter; default 5.
        aggregation_method: See `scoring_system.score`.
        unscored: See `scoring_system.score`.

    Raises:
        PiUsageError: when an argument is wrong, naming it; or when no client is given and no endpoint configured.

    Example:
        ```python
        from pi_integrations import embedded
        from pi_integrations.background import BackgroundScorer, MemorySink

        rubric = [{"question": "Does the answer say where the order is?"}]
        sink = MemorySink()
        with embedded() as client, BackgroundScorer(rubric, client=client, sink=sink) as scorer:
            scorer.submit(llm_input="Where is my order?", llm_output="It left our warehouse this morning.")
            scorer.flush(timeout=10)
            print(scorer.counts().scored, sink.scores[0].result.total_score)
        ```
    """

    def __init__(
        self,
        scoring_spec: SpecLike,
        *,
        client: PiClient | AsyncPiClient | None = None,
        sink: SinksLike | None = None,
        sample_rate: float = 1.0,
        names: Names | None = None,
        tags: Tags | None = None,
        exclude_tags: Tags | None = None,
        max_queue: int = 10_000,
        max_concurrency: int = 8,
        exit_timeout: float = 5.0,
        aggregation_method: AggregationMethod | str | None = None,
        unscored: UnscoredPolicy | None = None,
    ) -> None:
        _check(sample_rate, max_queue, max_concurrency, exit_timeout)
        self._sinks = SinkGroup(MemorySink() if sink is None else sink)
        self.exit_timeout = exit_timeout
        self._rubric = Rubric(scoring_spec, client=client, aggregation_method=aggregation_method, unscored=unscored)
        self._wanted = ExchangeFilter(names=names, tags=tags, exclude_tags=exclude_tags)
        self._sample_rate = sample_rate
        self._is_selective = sample_rate < 1 or not (names is None and tags is None and exclude_tags is None)
        # Not the module's generator: an application that seeds that one gets the numbers it expects.
        self._random = random.Random()
        self._limits = {"capacity": max_queue, "max_concurrency": max_concurrency}
        self._queue = ExchangeQueue(self._score, self._sinks, **self._limits)
        reset_after_fork(self)
        drain_at_exit(self)

    def start_over(self) -> None:
        """Empties the queue and sets the counts to 0; called in a forked child."""
        abandon(self._queue)
        self._queue = ExchangeQueue(self._score, self._sinks, **self._limits)
        self._random = random.Random()

    @property
    def sink(self) -> ScoreSink:
        """The first of the sinks."""
        return self._sinks.sinks[0]

    @property
    def sinks(self) -> tuple[ScoreSink, ...]:
        """Everything that takes the scores."""
        return self._sinks.sinks

    def submit(
        self,
        *,
        llm_input: str,
        llm_output: str,
        system_prompt: str | None = None,
        history: Sequence[tuple[str, str]] = (),
        contexts: Sequence[str] = (),
        reference: str | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """Whether the exchange was queued: False when the filters or sampling left it out, or it was dropped.

        Args:
            llm_input: What the application was asked.
            llm_output: What it answered.
            system_prompt: See `compose_llm_input`, by which this and the next three enter the input.
            history: Earlier turns as `(role, text)`, oldest first.
            contexts: Retrieved passages, best first.
            reference: A known good answer.
            name: What made the answer, such as the name of a chain or an agent; the filters and the sinks see it.
            tags: Whatever else says which traffic this is; the filters and the sinks see them.
            metadata: Handed to the sinks with the score.
        """
        if self._queue.is_refusing():
            self._queue.drop()
            return False
        try:
            tags = _tags(tags)
            if name is not None and not isinstance(name, str):
                raise PiUsageError(f"name is a {type(name).__name__}; give a string or None")
        except TROUBLE as error:
            self._queue.refuse(error)
            return False
        if self._is_selective and not self._chosen(name, tags):
            return False
        try:
            parts: dict[str, Any] = {"system_prompt": system_prompt, "reference": reference}
            parts["history"] = tuple(history)
            parts["contexts"] = contexts if isinstance(contexts, str) else tuple(contexts)
            exchange = Exchange(
                llm_input, llm_output, parts, dict(metadata or {}), name, tags, span_now(), tracing_switches()
            )
        except TROUBLE as error:
            self._queue.refuse(error)
            return False
        return self._queue.put(exchange)

    def defer(self, task: Callable[..., None], *arguments: Any) -> None:
        """Calls `task` with `arguments` soon, on the scorer's own thread, with the context variables of now.

        For handlers of frameworks: finding the exchange in what a framework holds takes longer than the application
        should wait, so leave it, and the `submit`, to a task. Tasks run one at a time, in the order in which they came,
        and `flush`, `counts` and `close` wait for them. One for which there is no room, because `max_queue` of them
        wait, runs at once, as it does after `close`, and what `close` found waiting runs beside it; what these submit
        is dropped. Never raises: a task that does counts as a failed exchange.
        """
        self._queue.deferred.add(task, arguments)

    def catch_up(self, timeout: float = 1.0) -> bool:
        """Whether everything deferred so far was run within `timeout` seconds, on other threads than this one."""
        return self._queue.deferred.wait(timeout)

    def _chosen(self, name: str | None, tags: Sequence[str]) -> bool:
        try:
            wanted = self._wanted(name, tags)
        except TROUBLE as error:
            self._queue.refuse(error)
            return False
        if not wanted:
            self._queue.ledger.filter_out()
        elif self._random.random() >= self._sample_rate:
            self._queue.ledger.sample_out()
            wanted = False
        return wanted

    async def _score(self, exchange: Exchange) -> BackgroundScore:
        request = self._rubric.request(exchange.llm_input, exchange.llm_output, **exchange.parts)
        with linked_to(exchange.span), switched(exchange.switches):
            result = await self._rubric.score(request)
        return BackgroundScore(
            request.llm_input,
            request.llm_output,
            result,
            exchange.metadata,
            name=exchange.name,
            tags=exchange.tags,
            span=exchange.span,
        )

    def counts(self) -> ScorerCounts:
        """What became of everything so far; `submitted == scored + failed + dropped + pending`.

        Waits up to a second for what was deferred; in a coroutine that may not, await `aflush(timeout)` first.
        """
        self.catch_up()
        return self._queue.ledger.counts()

    def flush(self, timeout: float | None = None) -> bool:
        """Whether everything submitted so far was scored, failed or dropped within `timeout` seconds.

        A `QueuedSink` is flushed too; one that cannot be is logged once, and makes it False. Without a timeout it waits
        as long as that takes, which the client's retry policy bounds. It blocks: in a coroutine, await `aflush`.

        Raises:
            PiUsageError: in a sink or on the background loop, where it would wait for itself.
        """
        if threading.current_thread() in (self._queue.thread, loop_thread().thread):
            raise PiUsageError("flush was called by a sink or on the background loop, where it would wait for itself")
        deadline = Deadline(timeout)
        is_read = self._queue.deferred.wait(deadline.left)
        self._queue.look()
        settled = self._queue.ledger.wait(deadline.left)
        return self._sinks.flush(deadline.left) and settled and is_read

    async def aflush(self, timeout: float | None = None) -> bool:
        """`flush`, without blocking the event loop; nothing waits on when it is cancelled.

        Raises:
            PiUsageError: in a sink, where it would wait for itself.
        """
        if threading.current_thread() is self._queue.thread:
            raise PiUsageError("aflush was called by a sink, where it would wait for itself")
        deadline = Deadline(timeout)
        is_read = await self._read(deadline)
        self._queue.look()
        settled = self._queue.ledger.settled()
        with suppress(TimeoutError):
            try:
                await asyncio.wait_for(asyncio.wrap_future(settled), deadline.left)
            finally:
                self._queue.ledger.forget(settled)
        return await self._sinks.aflush(deadline.left) and settled.done() and is_read

    async def _read(self, deadline: Deadline) -> bool:
        """Whether everything deferred so far was run by then."""
        if self._queue.deferred.is_done:
            return True
        told = Told()
        forget = self._queue.deferred.tell(told.set)
        try:
            return await told.wait(deadline.left)
        finally:
            forget()

    def close(self, timeout: float | None = 0.0) -> None:
        """Waits up to `timeout` seconds for what was submitted, drops the rest, and stops; later exchanges are dropped.

        None waits as long as it takes. What is dropped is counted, and logged once. A wait that is cut short, by Ctrl-C
        or a cancelled task, closes too.
        """
        try:
            self.flush(timeout)
        finally:
            self._queue.stop()

    async def aclose(self, timeout: float | None = 0.0) -> None:
        """`close`, without blocking the event loop."""
        try:
            await self.aflush(timeout)
        finally:
            self._queue.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(self.exit_timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose(self.exit_timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._queue.ledger.counts()})"


def _tags(tags: Sequence[str]) -> tuple[str, ...]:
    if isinstance(tags, str):
        raise PiUsageError(f"tags is a string, {tags!r}; give a list of tags: [{tags!r}]")
    if not isinstance(tags, Iterable):
        raise PiUsageError(f"tags is a {type(tags).__name__}; give a list of strings")
    tags = tuple(tags)
    if not all(isinstance(tag, str) for tag in tags):
        raise PiUsageError("tags holds something else than strings; give a list of strings")
    return tags


def _check(sample_rate: float, max_queue: int, max_concurrency: int, exit_timeout: float) -> None:
    if not isinstance(sample_rate, int | float) or not 0 <= sample_rate <= 1:
        raise PiUsageError(f"sample_rate is {sample_rate!r}; it is a share in [0, 1]")
    if not all(isinstance(count, int) and count >= 1 for count in (max_queue, max_concurrency)):
        raise PiUsageError(
            f"max_queue is {max_queue!r} and max_concurrency {max_concurrency!r}; each is a number, at least 1"
        )
    if not isinstance(exit_timeout, int | float) or not 0 <= exit_timeout < float("inf"):
        raise PiUsageError(f"exit_timeout is {exit_timeout!r}; give seconds ≥ 0")
