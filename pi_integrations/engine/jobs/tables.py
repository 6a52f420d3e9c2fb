"""The tables of the job engine, and a job as its row describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pi_integrations.models.jobs import JobState

__all__ = ["FINAL", "OPEN", "JobRecord", "JobView", "answers", "dumps", "jobs", "lines", "metadata", "workers"]

FINAL = [state.value for state in JobState if state.final]
OPEN = [state.value for state in JobState if not state.final]
metadata = sa.MetaData()

jobs = sa.Table(
    "pi_jobs",
    metadata,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("family", sa.String(100), nullable=False),
    # Digest of the API key that started the job; empty on an engine without keys.
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.String(255)),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("finished", sa.Float),
    # The number of the current attempt. Writes of earlier ones are refused.
    sa.Column("attempt", sa.Integer, nullable=False),
    # The worker of that attempt; null while it waits on the queue.
    sa.Column("worker", sa.String(100)),
    # Workers that died at it in a row, with no row and no answer kept in between.
    sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("row_count", sa.Integer, nullable=False),
    sa.Column("message_count", sa.Integer, nullable=False),
    sa.Column("progress", sa.Text),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("webhook_url", sa.Text),
    # WAITING, DELIVERED or FAILED; null without a webhook.
    sa.Column("webhook", sa.String(16)),
    # The worker that delivers it; null before.
    sa.Column("webhook_worker", sa.String(100)),
    sa.UniqueConstraint("owner", "family", "idempotency_key", name="pi_jobs_idempotency"),
    sa.Index("pi_jobs_by_state", "state", "finished"),
    sa.Index("pi_jobs_by_webhook", "webhook"),
    sa.Index("pi_jobs_by_owner", "owner", "family", "created"),
)

lines = sa.Table(
    "pi_job_lines",
    metadata,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("stream", sa.String(8), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("line", sa.Text, nullable=False),
)

answers = sa.Table(
    "pi_job_answers",
    metadata,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("answer", sa.Text, nullable=False),
)

workers = sa.Table(
    "pi_job_workers",
    metadata,
    sa.Column("worker", sa.String(100), primary_key=True),
    sa.Column("beat", sa.Float, nullable=False),
    # JSON list of the families it can work on.
    sa.Column("families", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job at one moment; times are seconds since 1970."""

    job_id: str
    family: str
    owner: str
    state: JobState
    request: str
    attempt: int
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
    """A job with its messages, and its rows as JSON or None where they were not requested; all of one moment."""

    record: JobRecord
    messages: list[str]
    rows: list[str] | None = None


def dumps(value: Any) -> str:
    """`value` as JSON that any text column takes: ASCII, so neither NUL nor half a surrogate pair is ever in it."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
