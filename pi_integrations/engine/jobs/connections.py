"""Connections to the job database: SQLite in a data directory, or Postgres by URL."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pi_integrations.errors import PiUsageError

__all__ = ["dbos_connections", "dbos_url", "postgres_engine", "sqlite_engine"]

_LOCK_SECONDS = 30
_LOCK_PAUSE = 0.02
_CONNECTIONS = 12
# A server that vanished is noticed in seconds: by itself TCP waits a quarter of an hour.
_WATCHFUL = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


def sqlite_engine(data_dir: Path) -> sa.Engine:
    """Of `jobs.sqlite` in the directory; both are made when missing, for their owner alone.

    Raises:
        PiUsageError: when they cannot be made.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("jobs.sqlite", "dbos.sqlite"):
            (data_dir / name).touch(mode=0o600)
    except OSError as error:
        raise PiUsageError(
            f"the data directory {data_dir} cannot be used: {error.strerror}. Give another --data-dir"
        ) from None
    engine = sa.create_engine(f"sqlite:///{data_dir / 'jobs.sqlite'}", connect_args={"timeout": _LOCK_SECONDS})
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def postgres_engine(url: str) -> sa.Engine:
    """Of the database at that URL; nothing is asked of it yet.

    Raises:
        PiUsageError: when the URL is not one of Postgres.
    """
    parsed = _postgres_url(url)
    watchful = {name: value for name, value in _WATCHFUL.items() if name not in parsed.query}
    return sa.create_engine(
        parsed, pool_size=_CONNECTIONS, max_overflow=0, pool_pre_ping=True, connect_args={**watchful}
    )


def dbos_url(url: str | None, data_dir: Path) -> str:
    """Where DBOS keeps its own tables: beside ours on Postgres, in a file of its own with SQLite."""
    return _postgres_url(url).render_as_string(hide_password=False) if url else f"sqlite:///{data_dir / 'dbos.sqlite'}"


def dbos_connections(url: str) -> dict[str, Any]:
    """What DBOS is to give to SQLAlchemy for its connections to `url`, beyond its own defaults."""
    is_sqlite = sa.make_url(url).get_backend_name() == "sqlite"
    return {"connect_args": {"factory": _MillisecondConnection}} if is_sqlite else {}


class _MillisecondConnection(sqlite3.Connection):
    """Tells the time in milliseconds: from Python 3.12 on, DBOS asks for what SQLite has only since 3.42."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        if sqlite3.sqlite_version_info < (3, 42):
            self.create_function("unixepoch", 1, _now)


def _now(_: str) -> float:
    return time.time()


def _set_up_sqlite(connection: Any, _: Any) -> None:
    # Transactions are begun by us: the driver's own deferred ones fail under a second writer instead of waiting.
    connection.isolation_level = None
    _write_ahead(connection)
    # An answer that was paid for survives a power cut too.
    connection.execute("PRAGMA synchronous=FULL").close()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switches the file to a write-ahead log. Of processes that do so at once all but one fail, without the wait that
    their time-out asks for, and so they try again."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_LOCK_PAUSE)


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")


def _postgres_url(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise PiUsageError("the database URL is not one of Postgres; give postgresql://USER:PASSWORD@HOST/DATABASE")
    return parsed.set(drivername="postgresql+psycopg")
