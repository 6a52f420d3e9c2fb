"""A job's model calls: recorded, paid for, and tried again after failures that pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from pi_integrations.engine.chat_models.asking import ChatModel, Embedder, Reply, Vectors, decoded
from pi_integrations.engine.chat_models.budget import Budget, Spending
from pi_integrations.engine.chat_models.failures import NoAnswer, Patience, redacted
from pi_integrations.engine.chat_models.fence import Prompt
from pi_integrations.engine.jobs.family import JobStopped, Run
from pi_integrations.engine.scoring.service import ScoreService, ScoringFailed
from pi_integrations.engine.synthesis.items import GenerationRequest, Item, well_formed
from pi_integrations.errors import PiUsageError
from pi_integrations.models import ScoreRequest

__all__ = ["Calls", "TooLong"]

T = TypeVar("T")
_QUIET_SECONDS = 60.0


class TooLong(JobStopped):
    """The prompt is longer than the generator reads; where a shorter one will do, the job continues with that."""


class Calls:
    """A job's calls to models. Each answer is recorded under its key, and counted in a spending.

    Failures that may pass are waited out; the first of a series writes a message line. `paid` is called after each call
    to the generator.
    """

    def __init__(
        self,
        run: Run,
        generator: ChatModel,
        service: ScoreService | None,
        embedder: Embedder | None,
        budget: Budget,
        patience: Patience,
        tell: Callable[[str], Awaitable[None]],
        paid: Callable[[], Awaitable[None]],
    ) -> None:
        self._run = run
        self._generator = generator
        self._service = service
        self._embedder = embedder
        self._budget = budget
        self._patience = patience
        self._tell = tell
        self._paid = paid
        self._notified = False
        self._notified_at = -_QUIET_SECONDS

    async def ask(self, spending: Spending, key: str, prompt: Prompt, temperature: float | None = None) -> Reply:
        """The generator's reply.

        Raises:
            CeilingReached: when the call might cost more than the job may.
            TooLong: when the prompt is longer than the generator reads.
            JobStopped: when the generator cannot be asked.
            PiUsageError: when there is a ceiling and the provider does not report tokens.
        """
        prompt = Prompt(well_formed(prompt.system), well_formed(prompt.user))
        size, limited = len((prompt.system + prompt.user).encode()), self._generator.limits_answers

        async def call() -> Any:
            most = await pending.enter_async_context(self._budget.asking(spending, size, limited=limited))
            reply = await self._patiently(lambda: self._generator.ask(prompt, temperature=temperature, max_tokens=most))
            return _to_record(reply)

        # Money stays set aside until the spending has the call: in between, it would look free to others.
        async with AsyncExitStack() as pending:
            try:
                reply = Reply(**await self._run.recorded(key, call))
            except NoAnswer as failure:
                raise JobStopped(self._explained(failure)) from None
            spending.add(reply.tokens)
        await self._paid()
        if reply.too_long:
            raise TooLong(f"{reply.too_long}.")
        return reply

    async def score(self, spending: Spending, key: str, request: GenerationRequest, item: Item) -> dict[str, Any] | str:
        """The item's scores, as a score request is answered; a reason when it has none.

        Raises:
            CeilingReached: when they might cost more than the job may.
            JobStopped: when scoring fails for good.
        """

        async def call() -> Any:
            await pending.enter_async_context(self._budget.scoring(spending))
            try:
                return await self._patiently(lambda: self._scored(request, item))
            except ScoringFailed as failure:
                if failure.retryable:
                    raise
                return {"unscored": redacted(str(failure))}

        async with AsyncExitStack() as pending:
            try:
                value = await self._run.recorded(key, call)
            except ScoringFailed as failure:
                raise JobStopped(f"scoring kept failing for {self._patience.seconds:g} s: {failure}") from None
            except PiUsageError as error:
                raise JobStopped(f"the scoring spec cannot be used: {error}") from None
            spending.add_judge(value.get("usage"))
        return str(value["unscored"]) if "unscored" in value else dict(value)

    async def embed(self, key: str, texts: list[str]) -> Vectors:
        """The embeddings of `texts`; empty without texts, or where the engine has no embeddings model."""
        embedder = self._embedder
        if embedder is None or not texts:
            return {}

        async def call() -> Any:
            return await self._patiently(lambda: embedder.embed(texts))

        try:
            return decoded(await self._run.recorded(key, call))
        except NoAnswer as failure:
            raise JobStopped(self._explained(failure)) from None

    async def embedded(self, key: str) -> Vectors:
        """The embeddings recorded under `key`; empty when there are none."""

        async def call() -> Any:
            raise LookupError

        try:
            return decoded(await self._run.recorded(key, call))
        except LookupError:
            return {}

    async def _scored(self, request: GenerationRequest, item: Item) -> dict[str, Any]:
        assert self._service is not None and request.scoring_spec is not None
        exchange = ScoreRequest(
            llm_input=item.llm_input, llm_output=item.llm_output or "", scoring_spec=request.scoring_spec
        )
        return await self._service.score(exchange, "error")

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        value = await self._patience.wait_out(call, self._waiting)
        self._notified = False
        return value

    async def _waiting(self, failure: BaseException, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        if self._notified or now < self._notified_at + _QUIET_SECONDS:
            return
        self._notified, self._notified_at = True, now
        reason = failure.reason if isinstance(failure, NoAnswer) else redacted(str(failure))
        limit = self._patience.seconds
        await self._tell(f"Waiting for {seconds:.1f} s, then trying again for up to {limit:g} s: {reason}")

    def _explained(self, failure: NoAnswer) -> str:
        reason = failure.reason.rstrip(".")
        if failure.retryable:
            return f"{reason}. {self._patience.given_up(failure)}; start another job later."
        return f"{reason}. Fix the engine's configuration, then start another job."


def _to_record(reply: Reply) -> dict[str, Any]:
    """The fields of a reply that are JSON values."""
    kept = {name: getattr(reply, name) for name in ("tokens", "temperature", "declined", "too_long", "cut")}
    return {"text": well_formed(reply.text), **kept}
