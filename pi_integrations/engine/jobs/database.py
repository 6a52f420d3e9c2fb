"""The job engine's database, SQLite in a data directory or Postgres by URL, used from threads of its own.

While the database is away, locked or full, a transaction is tried again until it succeeds, so that an outage stops jobs
and loses nothing. A transaction may have been committed although its answer was lost, so every write must be safe to
make twice.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pi_integrations.engine.jobs.tables import metadata
from pi_integrations.errors import PiUsageError

__all__ = ["FOREVER", "Database", "dbos_connections", "dbos_url", "sqlite_engine"]

T = TypeVar("T")
logger = logging.getLogger(__name__)
FOREVER = float("inf")
_PAUSE_SECONDS = 0.5
_LOG_SECONDS = 30.0
_FINISH_SECONDS = 5.0
_TABLES_LOCK = 7_304_921_550
_LOCK_SECONDS = 30
_LOCK_PAUSE = 0.02
_CONNECTIONS = 12
# By itself TCP waits a quarter of an hour before it gives up a server that vanished.
_KEEPALIVE = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


class Database:
    """Runs functions of a connection, each in a transaction, in worker threads.

    Args:
        url: Of a Postgres database, or None for SQLite.
        data_dir: Where the SQLite file is; made when missing.

    Raises:
        PiUsageError: when the URL or the directory cannot be used.
    """

    def __init__(self, url: str | None, data_dir: Path) -> None:
        self.is_sqlite = url is None
        self.engine = _postgres_engine(url) if url else sqlite_engine(data_dir)
        self._reading = self.engine.execution_options(reading=True)
        # SQLite has one writer at a time; waiting in a queue is cheaper than waiting for its lock.
        self._writers = ThreadPoolExecutor(1 if self.is_sqlite else 8, thread_name_prefix="pi-jobs-write")
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="pi-jobs-read")
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False

    def create_tables(self) -> None:
        """Makes the tables that are missing; any number of processes may at once.

        Raises:
            PiUsageError: when the database cannot be used.
        """
        try:
            with self.engine.begin() as connection:
                if not self.is_sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TABLES_LOCK)))
                metadata.create_all(connection)
        except SQLAlchemyError as error:
            shown = self.engine.url.render_as_string(hide_password=True)
            raise PiUsageError(
                f"the job database {shown} cannot be used: {_first_line(error)}. Check --database-url, or --data-dir"
            ) from None

    async def write(self, work: Callable[[sa.Connection], T], *, patience: float = 10.0) -> T:
        """The result of `work`, once its transaction is on disk; waits `patience` seconds for a database that is away.

        Raises:
            SQLAlchemyError: the last one, after that.
        """
        return await self._run(self._writers, self.engine, work, patience)

    async def read(self, work: Callable[[sa.Connection], T], *, patience: float = 10.0) -> T:
        """As `write`, for a transaction that only reads."""
        return await self._run(self._readers, self._reading, work, patience)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """The result of `work`, from one of the reading threads: those of the loop are for models."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def _run(
        self, pool: ThreadPoolExecutor, engine: sa.Engine, work: Callable[[sa.Connection], T], patience: float
    ) -> T:
        started = logged = time.monotonic()
        self._active += 1
        self._idle.clear()
        try:
            while True:
                try:
                    return await asyncio.get_running_loop().run_in_executor(pool, _transaction, engine, work)
                except DBAPIError as error:
                    now = time.monotonic()
                    if self._closing or not _is_outage(error) or now - started > patience:
                        raise
                    if logged == started or now - logged > _LOG_SECONDS:
                        logged = now
                        logger.warning("the job database failed, trying again: %s", _first_line(error))
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    def clock(self, connection: sa.Connection) -> float:
        """Seconds since 1970 by the clock that all workers share."""
        if self.is_sqlite:
            return time.time()
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def insert_new(self, table: sa.Table) -> Any:
        """An INSERT that leaves existing rows as they are."""
        return (sqlite if self.is_sqlite else postgresql).insert(table).on_conflict_do_nothing()

    async def aclose(self) -> None:
        """Waits some seconds for transactions under way, and closes the connections."""
        self._closing = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), _FINISH_SECONDS)
        for pool in (self._writers, self._readers):
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)
        self.engine.dispose()


def _transaction(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _is_outage(error: DBAPIError) -> bool:
    # "Operational" is what drivers call trouble that is not the statement's: away, locked, full, read-only, shut down.
    # 25006 is a Postgres that may only be read, as a standby is until it takes over.
    return (
        error.connection_invalidated
        or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
        or getattr(error.orig, "sqlstate", None) == "25006"
    )


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0]


def sqlite_engine(data_dir: Path) -> sa.Engine:
    """An engine of `jobs.sqlite` in the directory; both are made when missing, for their owner alone.

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
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: Any) -> None:
    # `_begin_sqlite` begins transactions: the driver's own deferred ones fail under a second writer instead of waiting.
    connection.isolation_level = None
    # Of processes that switch a file to a write-ahead log at once all but one fail, whatever their time-out.
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_LOCK_PAUSE)
    # An answer that was paid for survives a power cut too.
    connection.execute("PRAGMA synchronous=FULL").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")


def _postgres_engine(url: str) -> sa.Engine:
    parsed = _postgres_url(url)
    keepalive = {name: value for name, value in _KEEPALIVE.items() if name not in parsed.query}
    return sa.create_engine(parsed, pool_size=_CONNECTIONS, max_overflow=0, pool_pre_ping=True, connect_args=keepalive)


def _postgres_url(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise PiUsageError("the database URL is not one of Postgres; give postgresql://USER:PASSWORD@HOST/DATABASE")
    return parsed.set(drivername="postgresql+psycopg")


def dbos_url(url: str | None, data_dir: Path) -> str:
    """The URL of DBOS's own tables: beside ours on Postgres, in a file of its own with SQLite."""
    return _postgres_url(url).render_as_string(hide_password=False) if url else f"sqlite:///{data_dir / 'dbos.sqlite'}"


def dbos_connections(url: str) -> dict[str, Any]:
    """SQLAlchemy's arguments for DBOS's connections to `url`, beyond its own defaults."""
    is_sqlite = sa.make_url(url).get_backend_name() == "sqlite"
    return {"connect_args": {"factory": _MillisecondConnection}} if is_sqlite else {}


class _MillisecondConnection(sqlite3.Connection):
    """Knows `unixepoch('subsec')`: DBOS uses it from Python 3.12 on, and SQLite has it only since 3.42."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        if sqlite3.sqlite_version_info < (3, 42):
            self.create_function("unixepoch", 1, lambda _: time.time())
