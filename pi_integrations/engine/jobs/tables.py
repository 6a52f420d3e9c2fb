"""The tables of the job engine: jobs, their lines, their models' answers, and the processes that work on them."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["answers", "jobs", "lines", "metadata", "workers"]

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
    # Which life of the job is the current one. Whoever writes for an earlier life is refused.
    sa.Column("life", sa.Integer, nullable=False),
    # Who works on that life; null while it waits on the queue.
    sa.Column("worker", sa.String(100)),
    # How many workers died at it in a row, no row and no answer being kept in between.
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
    sa.Column("row_count", sa.Integer, nullable=False),
    sa.Column("message_count", sa.Integer, nullable=False),
    sa.Column("progress", sa.Text),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("webhook_url", sa.Text),
    # What became of it: WAITING for the job's end, QUEUED, DELIVERED or FAILED; null without a webhook.
    sa.Column("webhook", sa.String(16)),
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
