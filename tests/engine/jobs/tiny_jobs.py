"""Small job families to drive the job engine with, and an engine behind its routes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from pi_integrations.engine.gate import Gate
from pi_integrations.engine.jobs import FamilyWork, JobSettings, JobStopped, Run
from pi_integrations.engine.jobs.engine import JobEngine
from pi_integrations.engine.routes.jobs import job_routes
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.models import JobStatus
from pi_integrations.models.families import JobFamily

COUNT = "/test/count"
TEXTS = "/test/texts"
ELSEWHERE = "/test/elsewhere"
TWO_CALLS = "/test/two_calls"
ODD_TEXTS = ["plain", "two\nlines", "nul\0inside", "half a pair \ud83d", "emoji 😀", "", '"quoted"', "sep\u2028arated"]
End = Literal["done", "stopped", "failed", "not_a_number"]


class CountRequest(BaseModel):
    """Commits `batches` batches of five numbers, a call each."""

    model_config = ConfigDict(extra="forbid")

    batches: int = Field(default=2, ge=0, le=1000)
    latency: float = 0.0
    end: End = "done"
    padding: str | None = "x"
    webhook_url: str | None = None


def _family(path: str, item: type[Any]) -> JobFamily[CountRequest, JobStatus, Any]:
    return JobFamily(path, path.rpartition("/")[2], CountRequest, JobStatus, item)


@dataclass
class Tiny:
    """The families, and what their work did in this process."""

    calls: Counter[str] = field(default_factory=Counter)
    at_work: int = 0
    most_at_work: int = 0
    concurrency: int = 4

    def families(self) -> list[FamilyWork[Any]]:
        """Counting jobs, jobs of texts, jobs of two calls, and jobs that this process cannot do."""
        return [
            FamilyWork(_family(COUNT, int), self._count, concurrency=self.concurrency),
            FamilyWork(_family(TEXTS, str), self._texts),
            FamilyWork(_family(TWO_CALLS, int), self._two_calls),
            FamilyWork(_family(ELSEWHERE, str), self._texts, missing="no model here; give one"),
        ]

    async def _count(self, request: CountRequest, run: Run) -> Mapping[str, Any]:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            for batch in range((run.progress or {"next": 0})["next"], request.batches):
                await self._batch(batch, request, run)
        finally:
            self.at_work -= 1
        if request.end == "stopped":
            raise JobStopped("the model is exhausted")
        if request.end == "failed":
            raise ValueError("the secret is 1234")
        return {"total": float("nan") if request.end == "not_a_number" else 5 * request.batches}

    async def _batch(self, batch: int, request: CountRequest, run: Run) -> None:
        async def call() -> Any:
            self.calls[f"{run.job_id}/{batch}"] += 1
            await asyncio.sleep(request.latency)
            return [5 * batch + number for number in range(5)]

        rows = [{"n": number} for number in await run.recorded(f"batch-{batch}", call)]
        progress = {"next": batch + 1, "status": {"figures": {"batches": batch + 1}}}
        await run.commit(rows=rows, messages=[f"batch {batch}"], progress=progress)

    async def _two_calls(self, request: CountRequest, run: Run) -> Mapping[str, Any]:
        """A call that is answered at once and one that takes a while, and then a row of both answers."""

        def call(name: str, seconds: float) -> Callable[[], Awaitable[Any]]:
            async def ask() -> Any:
                self.calls[name] += 1
                await asyncio.sleep(seconds)
                return name

            return ask

        answers = [await run.recorded(name, call(name, s)) for name, s in (("quick", 0), ("slow", request.latency))]
        await run.commit(rows=[answers])
        return {}

    async def _texts(self, request: CountRequest, run: Run) -> Mapping[str, Any]:
        await run.commit(rows=ODD_TEXTS, messages=["a\nmessage\0 \ud800", ""])
        assert await run.rows() == ODD_TEXTS
        return {"echo": request.padding}


@asynccontextmanager
async def running(
    tiny: Tiny, settings: JobSettings, keys: Sequence[Any] = ()
) -> AsyncIterator[tuple[httpx.AsyncClient, JobEngine]]:
    """A client of an engine in this process, behind its gate."""
    engine = JobEngine(settings, tiny.families())
    app = FastAPI()
    app.include_router(job_routes(engine, tiny.families()))
    app.add_middleware(Gate, settings=EngineSettings(api_keys=tuple(keys)))
    await engine.start()
    try:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
            yield client, engine
    finally:
        await engine.stop()


def settings_at(folder: Path, **given: Any) -> JobSettings:
    """Settings of an engine in that folder."""
    return JobSettings(data_dir=folder, **given)


async def start(client: httpx.AsyncClient, path: str = COUNT, **body: Any) -> str:
    """The id of a new job."""
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["job_id"])


async def ended(client: httpx.AsyncClient, job_id: str, path: str = COUNT, **headers: str) -> dict[str, Any]:
    """The job's status, once it has ended."""
    status: dict[str, Any] = {}

    async def is_over() -> bool:
        status.update((await client.get(f"{path}/{job_id}", headers=headers)).json())
        return status["state"] not in ("QUEUED", "RUNNING")

    await eventually(is_over)
    return status


async def begun(client: httpx.AsyncClient, job_id: str, rows: int = 1) -> None:
    """Waits until the job has made some rows."""

    async def has_rows() -> bool:
        return len((await client.get(f"{COUNT}/{job_id}")).json()["data"]) >= rows

    await eventually(has_rows)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits until `condition` is true, at most half a minute."""
    for _ in range(1500):
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{condition.__name__}: not within half a minute")
