"""A job's model calls: recorded, paid for, and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from pi_integrations.engine.chat_models.failures import NoAnswer, redacted
from pi_integrations.engine.jobs.family import JobStopped, Run
from pi_integrations.engine.scoring.service import ScoreService, ScoringFailed
from pi_integrations.engine.synthesis.asking import Generator
from pi_integrations.engine.synthesis.embedding import Embedder, Vectors, decoded
from pi_integrations.engine.synthesis.items import GenerationRequest as Brief
from pi_integrations.engine.synthesis.items import Item
from pi_integrations.engine.synthesis.ledger import Bill, Ledger
from pi_integrations.engine.synthesis.patience import Patience
from pi_integrations.engine.synthesis.prompts import Prompt
from pi_integrations.errors import PiUsageError
from pi_integrations.models import ScoreRequest

__all__ = ["Answer", "Calls", "TooLong", "side_by_side"]

T = TypeVar("T")
_QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the generator said.

    Attributes:
        text: Its words.
        temperature: At which it said them, where known.
        declined: Why it said nothing, if so.
        cut: Whether it stopped at a limit on tokens.
    """

    text: str
    temperature: float | None = None
    declined: str | None = None
    cut: bool = False


class TooLong(JobStopped):
    """The prompt is longer than the generator reads; where a shorter one will do, the job goes on with that."""


class Calls:
    """What a job asks of models. Each answer is recorded under its key, and paid for on a bill.

    Failures that may pass are waited out, and the job's owner is told so once a storm. `paid` is called after each call
    of the generator.
    """

    def __init__(
        self,
        run: Run,
        generator: Generator,
        service: ScoreService | None,
        embedder: Embedder | None,
        ledger: Ledger,
        patience: Patience,
        tell: Callable[[str], Awaitable[None]],
        paid: Callable[[], Awaitable[None]],
    ) -> None:
        self._run = run
        self._generator = generator
        self._service = service
        self._embedder = embedder
        self._ledger = ledger
        self._patience = patience
        self._tell = tell
        self._paid = paid
        self._stormy = False
        self._told_at = -_QUIET_SECONDS

    async def ask(self, bill: Bill, key: str, prompt: Prompt, temperature: float | None = None) -> Answer:
        """The generator's answer.

        Raises:
            CeilingReached: when the call might cost more than the job may.
            TooLong: when the prompt is longer than the generator reads.
            JobStopped: when the generator cannot be asked.
        """
        size, limited = _size(prompt), self._generator.limits_answers

        async def call() -> Any:
            most = await pending.enter_async_context(self._ledger.asking(bill, size, limited=limited))
            return await self._patiently(lambda: self._generator.ask(prompt, temperature, most))

        async with AsyncExitStack() as pending:
            try:
                value = await self._run.recorded(key, call)
            except NoAnswer as failure:
                raise JobStopped(self._explained(failure)) from None
            bill.add(value["tokens"])
        await self._paid()
        if too_long := value.get("too_long"):
            raise TooLong(f"{too_long}.")
        return Answer(
            value["text"], value.get("temperature", temperature), value.get("declined"), bool(value.get("cut"))
        )

    async def score(self, bill: Bill, key: str, brief: Brief, item: Item) -> dict[str, Any] | str:
        """The item's scores, as a score request is answered; a reason when it has none.

        Raises:
            CeilingReached: when they might cost more than the job may.
            JobStopped: when no scores can be had.
        """

        async def call() -> Any:
            await pending.enter_async_context(self._ledger.scoring(bill))
            try:
                return await self._patiently(lambda: self._scored(brief, item))
            except ScoringFailed as failure:
                if failure.retryable:
                    raise
                return {"unscored": redacted(str(failure))}

        async with AsyncExitStack() as pending:
            try:
                value = await self._run.recorded(key, call)
            except ScoringFailed as failure:
                raise JobStopped(f"scores could not be had for {self._patience.seconds:g} s: {failure}") from None
            except PiUsageError as error:
                raise JobStopped(f"the scoring spec cannot be used: {error}") from None
            bill.add_judge(value.get("usage"))
        return str(value["unscored"]) if "unscored" in value else dict(value)

    async def embed(self, key: str, texts: list[str]) -> Vectors:
        """The embeddings of `texts`; none where the engine has no embeddings model, or for no texts."""
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
        """The embeddings on record under `key`; none where none are."""

        async def call() -> Any:
            raise LookupError

        try:
            return decoded(await self._run.recorded(key, call))
        except LookupError:
            return {}

    async def _scored(self, brief: Brief, item: Item) -> dict[str, Any]:
        assert self._service is not None and brief.scoring_spec is not None
        request = ScoreRequest(
            llm_input=item.llm_input, llm_output=item.llm_output or "", scoring_spec=brief.scoring_spec
        )
        return await self._service.score(request, "error")

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        value = await self._patience.wait_out(call, self._waiting)
        self._stormy = False
        return value

    async def _waiting(self, failure: BaseException, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        if self._stormy or now < self._told_at + _QUIET_SECONDS:
            return
        self._stormy, self._told_at = True, now
        reason = failure.reason if isinstance(failure, NoAnswer) else redacted(str(failure))
        limit = self._patience.seconds
        await self._tell(f"Waiting for {seconds:.1f} s, then trying again for up to {limit:g} s: {reason}")

    def _explained(self, failure: NoAnswer) -> str:
        reason = failure.reason.rstrip(".")
        if failure.retryable:
            return f"{reason}. {self._patience.given_up(failure)}; start another job later."
        return f"{reason}. Mend the engine's configuration, then start another job."


def _size(prompt: Prompt) -> int:
    """Bytes: a closer measure of tokens than characters, in any script."""
    return len((prompt.system + prompt.user).encode("utf-8", "replace"))


async def side_by_side(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What each call returns, in order; the first failure ends the others and is raised itself."""
    failed: BaseException
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* Exception as errors:  # noqa: BLE001 - raised below
        failed = errors.exceptions[0]
    else:
        return [task.result() for task in tasks]
    raise failed
