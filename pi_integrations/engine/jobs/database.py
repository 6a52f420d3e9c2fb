"""The job engine's database, reached from threads of its own.

A database that is away, locked or full is waited for: what was asked of it is tried again until it answers, so that an
outage stops jobs and loses nothing. A transaction may have been committed although its answer was lost, and so
everything that is written here must stand being written twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pi_integrations.engine.jobs.connections import postgres_engine, sqlite_engine
from pi_integrations.engine.jobs.tables import metadata
from pi_integrations.errors import PiUsageError

__all__ = ["Database"]

T = TypeVar("T")
logger = logging.getLogger(__name__)
_PAUSE_SECONDS = 0.5
_LOG_SECONDS = 30.0
_FINISH_SECONDS = 5.0
_ONE_MAKES_TABLES = 7_304_921_550


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
        self.engine = postgres_engine(url) if url else sqlite_engine(data_dir)
        self._reading = self.engine.execution_options(reading=True)
        # One writer at a time is all SQLite has; waiting in a queue is cheaper than waiting for its lock.
        self._writers = ThreadPoolExecutor(1 if self.is_sqlite else 8, thread_name_prefix="pi-jobs-write")
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="pi-jobs-read")
        self._at_work = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False

    def create_tables(self) -> None:
        """Makes the tables and columns that are missing; any number of processes may at once.

        Raises:
            PiUsageError: when the database cannot be used.
        """
        try:
            with self.engine.begin() as connection:
                if not self.is_sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ONE_MAKES_TABLES)))
                metadata.create_all(connection)
                _add_columns(connection)
        except SQLAlchemyError as error:
            shown = self.engine.url.render_as_string(hide_password=True)
            raise PiUsageError(
                f"the job database {shown} cannot be used: {_first_line(error)}. Check --database-url, or --data-dir"
            ) from None

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns, once its transaction is on disk; waits as long as the database is away."""
        return await self._patiently(self._writers, self.engine, work, patience=float("inf"))

    async def write_soon(self, work: Callable[[sa.Connection], T], *, patience: float = 10.0) -> T:
        """`write` for somebody who is waiting for an answer: gives up after `patience` seconds.

        Raises:
            SQLAlchemyError: the last one, then.
        """
        return await self._patiently(self._writers, self.engine, work, patience=patience)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What `work` returns, from one of the reading threads."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def read(self, work: Callable[[sa.Connection], T], *, patience: float = 10.0) -> T:
        """What `work` returns; waits at most `patience` seconds for a database that is away.

        Raises:
            SQLAlchemyError: the last one, after that.
        """
        return await self._patiently(self._readers, self._reading, work, patience=patience)

    async def _patiently(
        self, pool: ThreadPoolExecutor, engine: sa.Engine, work: Callable[[sa.Connection], T], *, patience: float
    ) -> T:
        started = told = time.monotonic()
        self._at_work += 1
        self._idle.clear()
        try:
            while True:
                try:
                    return await asyncio.get_running_loop().run_in_executor(pool, _transaction, engine, work)
                except DBAPIError as error:
                    now = time.monotonic()
                    if self._closing or not _is_outage(error) or now - started > patience:
                        raise
                    if told == started or now - told > _LOG_SECONDS:
                        told = now
                        logger.warning("the job database does not take it, trying again: %s", _first_line(error))
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._at_work -= 1
            if not self._at_work:
                self._idle.set()

    def clock(self, connection: sa.Connection) -> float:
        """Seconds since 1970 by the clock that all workers share."""
        if self.is_sqlite:
            return time.time()
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def insert_new(self, table: sa.Table) -> Any:
        """An INSERT that leaves existing rows as they are."""
        if self.is_sqlite:
            from sqlalchemy.dialects.sqlite import insert as sqlite_insert

            return sqlite_insert(table).on_conflict_do_nothing()
        from sqlalchemy.dialects.postgresql import insert as postgres_insert

        return postgres_insert(table).on_conflict_do_nothing()

    async def aclose(self) -> None:
        """Waits some seconds for what is being written, and closes the connections."""
        self._closing = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), _FINISH_SECONDS)
        for pool in (self._writers, self._readers):
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)
        self.engine.dispose()


def _add_columns(connection: sa.Connection) -> None:
    """Those that came after the tables were made, by an earlier version; each has a default."""
    for table in metadata.sorted_tables:
        present = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                definition = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                connection.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {definition}"))


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
