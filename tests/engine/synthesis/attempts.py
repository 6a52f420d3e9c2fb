"""A job in memory that can be killed at any await and taken up again from what was recorded and committed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel

from pi_integrations.engine.jobs.family import FamilyWork
from pi_integrations.engine.synthesis.families import synthesis_families


@dataclass
class Journal:
    """What is on disk."""

    answers: dict[str, str] = field(default_factory=dict)
    rows: list[Any] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    progress: dict[str, Any] | None = None
    calls: list[str] = field(default_factory=list)
    """The key of every call that was begun, in all attempts."""

    @property
    def figures(self) -> dict[str, Any]:
        assert self.progress is not None
        figures: dict[str, Any] = self.progress["status"]["figures"]
        return figures


class Attempt:
    """A `Run` on a journal. At its `dies_at`-th await it stops for good, as a killed process does."""

    def __init__(self, journal: Journal, dies_at: int | None = None, job_id: str = "job-1") -> None:
        self._journal = journal
        self._dies_at = dies_at
        self.awaits = 0
        self.dead = asyncio.Event()
        self.job_id = job_id

    @property
    def progress(self) -> Mapping[str, Any] | None:
        return self._journal.progress

    async def rows(self) -> list[Any]:
        await self._await()
        return list(self._journal.rows)

    async def recorded(self, key: str, call: Callable[[], Awaitable[Any]]) -> Any:
        await self._await()
        if key not in self._journal.answers:
            self._journal.calls.append(key)
            answer = json.dumps(await call())
            await self._await()
            self._journal.answers[key] = answer
            await self._await()
        return json.loads(self._journal.answers[key])

    async def commit(
        self, *, rows: Sequence[Any] = (), messages: Sequence[str] = (), progress: Mapping[str, Any] | None = None
    ) -> None:
        await self._await()
        self._journal.rows.extend(json.loads(json.dumps(list(rows))))
        self._journal.messages.extend(messages)
        if progress is not None:
            self._journal.progress = json.loads(json.dumps(progress))
        await self._await()

    async def _await(self) -> None:
        self.awaits += 1
        if self.awaits == self._dies_at:
            self.dead.set()
        if self.dead.is_set():
            await asyncio.Event().wait()
        await asyncio.sleep(0)


def pairs_family(model: BaseChatModel, **given: Any) -> FamilyWork[Any]:
    """The family of pairs, with waits of milliseconds."""
    return synthesis_families(model, given.pop("service", None), **{"first_wait": 0.001, **given})[0]


def inputs_family(model: BaseChatModel, **given: Any) -> FamilyWork[Any]:
    """The family of inputs, with waits of milliseconds."""
    return synthesis_families(model, given.pop("service", None), **{"first_wait": 0.001, **given})[1]


def request_for(family: FamilyWork[Any], count: int, **body: Any) -> Any:
    """A checked request for `count` items."""
    request = family.family.request.model_validate(
        {f"num_{family.family.kind}_to_generate": count, "seeds": [], **body}
    )
    family.check(request)
    return request


async def run_attempt(family: FamilyWork[Any], request: Any, attempt: Attempt) -> Mapping[str, Any] | None:
    """The result of an attempt; None when it was killed."""
    work = asyncio.ensure_future(family.work(request, attempt))
    death = asyncio.ensure_future(attempt.dead.wait())
    try:
        await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
        return await work if work.done() else None
    finally:
        work.cancel()
        death.cancel()
        await asyncio.gather(work, death, return_exceptions=True)


async def run_job(family: FamilyWork[Any], count: int, **body: Any) -> tuple[Mapping[str, Any], Journal]:
    """Runs a job in one attempt."""
    journal = Journal()
    result = await run_attempt(family, request_for(family, count, **body), Attempt(journal))
    assert result is not None
    return result, journal
