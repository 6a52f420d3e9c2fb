"""A short look at a job: its state, and how many lines its streams have if the service says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pi_integrations.client.bodies import JsonReader
from pi_integrations.client.calls import Calls, Outgoing
from pi_integrations.models import JobState

__all__ = ["Peek", "peek"]


class Peek(BaseModel):
    """What of a status matters to somebody who follows a job; the rest is not kept."""

    state: JobState
    data: list[Any] | None = None
    detailed_status: list[Any] | None = None
    error: str | None = None
    stopped: str | None = None

    def lines(self, kind: str) -> int | None:
        """Lines of the stream `kind` so far; None when the status does not hold them."""
        found = self.data if kind == "data" else self.detailed_status
        return None if found is None else len(found)


async def peek(calls: Calls, job: str, hints: Mapping[int, str], *, patient: bool = False) -> Peek:
    """The job whose path is `job`. `data=false` asks an engine that knows it to leave the rows out."""
    request = Outgoing("GET", f"{job}?data=false", patient=patient)
    return await calls.run(request, JsonReader[Peek](Peek, "a job status", hints=hints))
