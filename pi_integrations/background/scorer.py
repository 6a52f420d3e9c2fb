"""`BackgroundScorer`: takes exchanges from an application in microseconds, and scores them later."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from pi_integrations.background.absorbed_errors import ABSORBED_ERRORS
from pi_integrations.background.counts import Deadline, ScorerCounts
from pi_integrations.background.exchange_queue import ExchangeQueue, LiveExchange
from pi_integrations.background.filters import ExchangeFilter, Names, Tags, checked_tags
from pi_integrations.background.process import drain_at_exit, reset_after_fork
from pi_integrations.background.queued_sink import SinkGroup, SinksLike
from pi_integrations.background.sinks import BackgroundScore, MemorySink, ScoreSink
from pi_integrations.client import AnyClient, AsyncPiClient, PiClient, SpecScorer
from pi_integrations.client.loop_thread import NotCopied, abandon, loop_thread
from pi_integrations.errors import PiUsageError
from pi_integrations.models import AggregationMethod, SpecLike
from pi_integrations.models.wire import UnscoredPolicy
from pi_integrations.telemetry import current_span_context, linked_to, switched, tracing_switches

__all__ = ["BackgroundScorer"]


class BackgroundScorer(NotCopied):
    """Scores an application's live exchanges without making it wait, from any thread and any event loop.

    `submit` puts an exchange on a bounded queue and returns; it never raises and never blocks. What does not fit is
    dropped and counted. When the interpreter exits, queued work gets `exit_timeout` seconds. A forked child starts with
    an empty queue and counts at 0, while the parent scores the parent's exchanges. Make one per process and rubric, and
    `close` it (or use it in a `with`): until then it keeps a thread.

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
        max_queue: Exchanges waiting or being scored at a time, and as many unread; default 10,000. Their texts stay in
            memory.
        max_concurrency: Scores requested at a time; default 8.
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
        scoring = AnyClient(client).asynchronous.scoring_system
        self._scorer = SpecScorer(scoring_spec, scoring, aggregation_method=aggregation_method, unscored=unscored)
        self._wanted = ExchangeFilter(names=names, tags=tags, exclude_tags=exclude_tags)
        self._sample_rate = sample_rate
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
        """All of the sinks."""
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
            llm_input: The question to the application.
            llm_output: Its answer.
            system_prompt: See `compose_llm_input`, by which this and the next three enter the input.
            history: Earlier turns as `(role, text)`, oldest first.
            contexts: Retrieved passages, best first.
            reference: A known good answer.
            name: Name of the chain or agent that answered; the filters and the sinks see it.
            tags: Labels of this kind of traffic; the filters and the sinks see them.
            metadata: Passed to the sinks with the score.
        """
        if self._queue.is_dropping:
            self._queue.drop()
            return False
        try:
            if name is not None and not isinstance(name, str):
                raise PiUsageError(f"name is a {type(name).__name__}; give a string or None")
            tags = checked_tags(tags)
            if not self._is_chosen(name, tags):
                return False
            parts: dict[str, Any] = {"system_prompt": system_prompt, "reference": reference, "history": tuple(history)}
            parts["contexts"] = contexts if isinstance(contexts, str) else tuple(contexts)
            span, switches = current_span_context(), tracing_switches()
            exchange = LiveExchange(llm_input, llm_output, parts, dict(metadata or {}), name, tags, span, switches)
        except ABSORBED_ERRORS as error:
            self._queue.fail(error)
            return False
        return self._queue.put(exchange)

    def defer(self, task: Callable[..., None], *arguments: Any) -> None:
        """Calls `task` with `arguments` soon, on the scorer's own thread, with the context variables of now.

        For handlers of frameworks: finding the exchange in a framework's objects takes longer than the application
        should wait, so leave it, and the `submit`, to a task. Tasks run one at a time, in the order in which they came;
        `counts().unread` says how many have not run yet, and `flush` and `close` wait for them. With `max_queue` tasks
        waiting, or after `close`, a task runs at once and what it submits is dropped. Never raises: a task that does
        counts as a failed exchange.
        """
        self._queue.defer(task, arguments)

    def catch_up(self, timeout: float = 1.0) -> bool:
        """Whether every task deferred so far ran within `timeout` seconds; a task that asks does not wait."""
        return self._queue.unread.wait(0.0 if self._queue.thread.is_current else timeout)

    def _is_chosen(self, name: str | None, tags: Sequence[str]) -> bool:
        if not self._wanted(name, tags):
            self._queue.left_out.add("filtered_out")
            return False
        if self._random.random() >= self._sample_rate:
            self._queue.left_out.add("sampled_out")
            return False
        return True

    async def _score(self, exchange: LiveExchange) -> BackgroundScore:
        request = self._scorer.request(exchange.llm_input, exchange.llm_output, **exchange.parts)
        with linked_to(exchange.span), switched(exchange.switches):
            result = await self._scorer.score(request)
        origin = (exchange.metadata, exchange.name, exchange.tags, exchange.span)
        return BackgroundScore(request.llm_input, request.llm_output, result, *origin)

    def counts(self) -> ScorerCounts:
        """What became of everything so far, without waiting; `submitted == scored + failed + dropped + pending`."""
        return self._queue.counts()

    def flush(self, timeout: float | None = None) -> bool:
        """Whether everything handed over so far was read, and scored, failed or dropped, within `timeout` seconds.

        A `QueuedSink` is flushed too; one that cannot be is logged once, and makes it False. Without a timeout it waits
        as long as that takes, which the client's retry policy bounds. It blocks: in a coroutine, await `aflush`.

        Raises:
            PiUsageError: in a sink, a deferred task or on the background loop, where it would wait for itself.
        """
        if self._queue.thread.is_current or threading.current_thread() is loop_thread().thread:
            raise PiUsageError("flush was called by a sink or on the background loop, where it would wait for itself")
        deadline = Deadline(timeout)
        is_read = self._queue.unread.wait(deadline.left)
        is_settled = self._queue.exchanges.wait(deadline.left)
        return self._sinks.flush(deadline.left) and is_settled and is_read

    async def aflush(self, timeout: float | None = None) -> bool:
        """`flush`, without blocking the event loop; a cancelled one leaves nothing waiting.

        Raises:
            PiUsageError: in a sink or a deferred task, where it would wait for itself.
        """
        if self._queue.thread.is_current:
            raise PiUsageError("aflush was called by a sink, where it would wait for itself")
        deadline = Deadline(timeout)
        is_read = await self._queue.unread.await_all(deadline.left)
        is_settled = await self._queue.exchanges.await_all(deadline.left)
        return await self._sinks.aflush(deadline.left) and is_settled and is_read

    def close(self, timeout: float | None = 0.0) -> None:
        """Flushes for up to `timeout` seconds, drops the rest, and stops; later exchanges are dropped.

        None waits as long as it takes. Dropped exchanges are counted, and logged once. Ctrl-C and cancellation cut the
        wait short and close too. Unread exchanges are still read, by the scorer's thread, to be counted as dropped.
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

    def __exit__(self, *_: object) -> None:
        self.close(self.exit_timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose(self.exit_timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.counts()})"


def _check(sample_rate: float, max_queue: int, max_concurrency: int, exit_timeout: float) -> None:
    if not isinstance(sample_rate, int | float) or not 0 <= sample_rate <= 1:
        raise PiUsageError(f"sample_rate is {sample_rate!r}; it is a share in [0, 1]")
    if not all(isinstance(count, int) and count >= 1 for count in (max_queue, max_concurrency)):
        raise PiUsageError(
            f"max_queue is {max_queue!r} and max_concurrency {max_concurrency!r}; each is a number, at least 1"
        )
    if not isinstance(exit_timeout, int | float) or not 0 <= exit_timeout < float("inf"):
        raise PiUsageError(f"exit_timeout is {exit_timeout!r}; give seconds ≥ 0")
