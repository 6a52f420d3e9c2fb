"""Jobs as they are kept: what a row of the jobs table says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pi_integrations.models.jobs import JobState

__all__ = ["JobRecord", "JobView", "dumps"]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job at one moment; times are seconds since 1970."""

    job_id: str
    family: str
    owner: str
    state: JobState
    request: str
    life: int
    worker: str | None
    row_count: int
    message_count: int
    progress: Mapping[str, Any] | None
    result: Mapping[str, Any]
    error: str | None
    created: float
    finished: float | None
    webhook_url: str | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> JobRecord:
        """The record of a row of the jobs table."""
        values = {name: row._mapping[name] for name in cls.__dataclass_fields__}
        values["state"] = JobState(values["state"])
        values["progress"] = json.loads(values["progress"]) if values["progress"] else None
        values["result"] = json.loads(values["result"]) if values["result"] else {}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with what it has made, all of one moment; `rows` are JSON, or None where they were not asked for."""

    record: JobRecord
    messages: list[str]
    rows: list[str] | None = None


def dumps(value: Any) -> str:
    """`value` as JSON that any text column takes: ASCII, so neither NUL nor half a surrogate pair is ever in it."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
