"""SQLite files opened by several processes at the same moment."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import sqlalchemy as sa

from pi_integrations.engine.jobs.database import dbos_connections, dbos_url, sqlite_engine

PROCESSES = 3
FILES = 25


def _open_all(folder: Path, together: Barrier) -> None:
    for number in range(FILES):
        together.wait(30)
        with sqlite_engine(folder / str(number)).begin() as connection:
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS t (x)"))


def test_processes_that_open_a_new_file_at_once_all_get_in(tmp_path: Path) -> None:
    """SQLite refuses all but one of those that switch a file to its write-ahead log, whatever its time-out."""
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(PROCESSES)
    processes = [spawn.Process(target=_open_all, args=(tmp_path, together)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES


def test_queue_can_ask_any_sqlite_for_milliseconds(tmp_path: Path) -> None:
    """DBOS does from Python 3.12 on; SQLite has them since 3.42, and NULL before."""
    url = dbos_url(None, tmp_path)
    engine = sa.create_engine(url, **dbos_connections(url))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (x, at INTEGER NOT NULL DEFAULT (unixepoch('subsec') * 1000))"))
        connection.execute(sa.text("INSERT INTO t (x) VALUES (1)"))
        at = connection.execute(sa.select(sa.column("at")).select_from(sa.table("t"))).scalar_one()
    engine.dispose()
    assert abs(at / 1000 - time.time()) < 60
