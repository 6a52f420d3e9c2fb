"""How soon a committed row reaches a reader: in the same process, and from another process through the database.

    python benchmarks/job_streams.py [--rows 300] [--seconds 10]

Each row carries the moment before its commit; the reader notes when it has the row's line. Rows come every 30 ms and a
bit, so that polling is met at every phase. Aims: 50 ms in the same process, 150 ms across processes (p99, SQLite and
Postgres). What the commit itself takes is part of all of them, and shown. The last table is what an engine costs that
has nothing to do, as a share of one processor core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from _jobs import percentile
from _postgres import private_postgres
from _tables import print_table
from pydantic import BaseModel, SecretStr

from pi_integrations.engine.jobs import FamilyWork, JobSettings, Run
from pi_integrations.engine.jobs.engine import JobEngine
from pi_integrations.models.families import JobFamily
from pi_integrations.models.jobs import JobStatus

# Milliseconds that each commit of this process took.
COMMITS: list[float] = []


class TimedRequest(BaseModel):
    """How many rows to make."""

    rows: int


async def work(request: TimedRequest, run: Run) -> Mapping[str, Any]:
    """Commits rows that carry the time."""
    for _ in range(request.rows):
        await asyncio.sleep(random.uniform(0.02, 0.05))
        began = time.time()
        await run.commit(rows=[{"made": began}])
        COMMITS.append(1000 * (time.time() - began))
    return {}


def families(count: int = 1, missing: str | None = None) -> list[FamilyWork[Any]]:
    """The family of timed rows, and others like it."""
    return [
        FamilyWork(JobFamily(f"/test/timed{number}", "timed", TimedRequest, JobStatus, dict), work, missing=missing)
        for number in range(count)
    ]


def settings(data_dir: Path, database: str) -> JobSettings:
    """Where the jobs are."""
    return JobSettings(data_dir=data_dir, database_url=SecretStr(database) if database else None)


async def follow(engine: JobEngine, job_id: str) -> list[float]:
    """Milliseconds from before each commit to its line."""
    delays: list[float] = []
    async for lines in engine.follow(job_id, "data", 0):
        now = time.time()
        delays.extend(1000 * (now - json.loads(line)["made"]) for line in lines)
    return delays


def read_elsewhere(data_dir: Path, database: str, pipe: Connection) -> None:
    """A process that works on nothing and reads: it is sent a job's id and sends the delays."""

    async def main() -> None:
        engine = JobEngine(settings(data_dir, database), families(missing="it reads"))
        await engine.start()
        pipe.send("ready")
        pipe.send(await follow(engine, await asyncio.to_thread(pipe.recv)))
        await engine.stop()

    asyncio.run(main())


async def measure(data_dir: Path, database: str, rows: int) -> tuple[list[float], list[float]]:
    """Delays in this process, and in another."""
    engine = JobEngine(settings(data_dir, database), families())
    await engine.start()
    pipe, theirs = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    reader = spawn.Process(target=read_elsewhere, args=(data_dir, database, theirs), daemon=True)
    reader.start()
    await asyncio.to_thread(pipe.recv)
    view = await engine.submit(families()[0], TimedRequest(rows=rows), owner="")
    pipe.send(view.record.job_id)
    here = await follow(engine, view.record.job_id)
    there = await asyncio.to_thread(pipe.recv)
    await asyncio.to_thread(reader.join)
    await engine.stop()
    return here, there


async def idle(data_dir: Path, database: str, count: int, seconds: float) -> float:
    """Percent of a core that an engine of so many families uses with nothing to do."""
    engine = JobEngine(settings(data_dir, database), families(count))
    await engine.start()
    await asyncio.sleep(2)
    used, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    share = 100 * (time.process_time() - used) / (time.monotonic() - began)
    await engine.stop()
    return share


def row(title: str, delays: Sequence[float], aim: float) -> tuple[str, ...]:
    """A line of the table."""
    return (
        title,
        str(len(delays)),
        f"{percentile(delays, 0.5):.1f}",
        f"{percentile(delays, 0.99):.1f}",
        f"{aim:.0f}" if aim else "",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    rows, costs = [], []
    with ExitStack() as stack:
        server = stack.enter_context(private_postgres())
        for title, database in (("SQLite", ""), ("Postgres", server.new_database())):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pi-streams-")))
            here, there = asyncio.run(measure(folder, database, options.rows))
            rows += [row(f"{title}, same process", here, 50), row(f"{title}, another process", there, 150)]
            rows.append(row(f"{title}, the commit alone", COMMITS, 0))
            COMMITS.clear()
            for count in (2, 6):
                used = asyncio.run(idle(folder, database, count, options.seconds))
                costs.append((f"{title}, {count} families", f"{used:.1f}"))
    print_table("From commit to a reader's line, ms", ["where", "rows", "p50", "p99", "aim"], rows)
    print_table("Engine with nothing to do", ["where", "% of a core"], costs)


if __name__ == "__main__":
    main()
