"""Worker processes that are killed, frozen, or run into a full disk: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from _job_worker import counting_family
from _jobs import Kept, Model, model_server, wait_until, worker
from _postgres import Postgres
from pydantic import SecretStr

from pi_integrations.engine.jobs import JobSettings
from pi_integrations.engine.jobs.engine import JobEngine

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "job_kills.py"


@pytest.fixture
def model() -> Iterator[Model]:
    """Answers after some 30 ms, and counts."""
    with model_server() as serving:
        yield serving


def hold(model: Model) -> threading.Event:
    """Some batches in, the model answers no more until the event is set: a job must not end before a worker dies."""
    go_on = threading.Event()

    def wait(key: str) -> None:
        if int(key.rpartition("/")[2]) >= 3:
            go_on.wait()

    model.before = wait
    return go_on


def check(kept: Kept, model: Model, job: str, items: int, *, in_flight: int) -> None:
    """The job is done, with every item once and in order; at most so many calls were made again."""
    assert kept.job(job).state == "DONE"
    assert [row["n"] for row in kept.rows(job)] == list(range(items))
    batches = [line for line in kept.messages(job) if line.startswith("batch")]
    assert batches == [f"batch {number}" for number in range(-(-items // 5))]
    assert kept.messages(job).count("DONE") == kept.messages(job).count("RUNNING") == 1
    assert model.calls - len(model.asked) <= in_flight


def is_over(kept: Kept, job: str) -> bool:
    return kept.job(job).finished is not None


def test_kills_lose_nothing_double_nothing_and_ask_for_no_recorded_answer_again() -> None:
    """The short form of the benchmark, which exits with 1 when it misses an aim."""
    command = [sys.executable, str(BENCHMARK), "--kills", "6", "--items", "100"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_engines_on_one_sqlite_directory_share_the_work_and_take_over_from_each_other(
    tmp_path: Path, model: Model
) -> None:
    kept = Kept(tmp_path)
    go_on = hold(model)
    options = ["--data-dir", str(tmp_path), "--model", model.url, "--submit"]
    with worker(*options, "one:100", "two:100") as first, worker(*options, "one:100", "two:100") as second:
        jobs = first.jobs()
        assert second.jobs() == jobs
        wait_until(lambda: all(kept.rows(job) for job in jobs))
        dying = kept.job(jobs[0]).worker
        (first if f"-{first.process.pid}-" in dying else second).process.kill()
        go_on.set()
        wait_until(lambda: all(is_over(kept, job) for job in jobs))
    for job in jobs:
        check(kept, model, job, 100, in_flight=2)
    kept.close()


def test_jobs_of_a_dead_worker_are_taken_over_by_one_that_is_full(tmp_path: Path, model: Model) -> None:
    """Eight jobs keep two workers full; the one that is left works on all of them within ten seconds."""
    kept = Kept(tmp_path)
    options = ["--data-dir", str(tmp_path), "--model", model.url, "--submit"]
    names = [f"{number}:5000" for number in range(8)]
    with worker(*options, *names) as first, worker(*options, *names) as second:
        jobs = first.jobs()
        second.jobs()
        wait_until(lambda: all(kept.rows(job) for job in jobs))
        held = [kept.job(job).worker or "" for job in jobs]
        assert sum(f"-{first.process.pid}-" in each for each in held) == 4
        first.process.kill()
        died = time.monotonic()
        wait_until(lambda: all(f"-{second.process.pid}-" in (kept.job(job).worker or "") for job in jobs))
        assert time.monotonic() - died < 10
    kept.close()


def test_artifacts_of_a_killed_worker_are_there_for_the_next(tmp_path: Path, model: Model) -> None:
    """The first worker's files are those of the batches it committed, and the second adds the rest."""
    kept = Kept(tmp_path)
    go_on = hold(model)
    options = ["--data-dir", str(tmp_path), "--model", model.url, "--artifacts", "--submit", "one:50"]
    with worker(*options) as first:
        (job,) = first.jobs()
        wait_until(lambda: len(kept.rows(job)) == 15)
        first.process.kill()
        first.process.wait()
    files = tmp_path / "artifacts" / job / "batches"
    before = {file.name: file.read_text() for file in files.iterdir()}
    assert sorted(before) == ["0", "1", "2"]
    go_on.set()
    with worker(*options) as second:
        second.jobs()
        wait_until(lambda: is_over(kept, job))
    after = {file.name: file.read_text() for file in files.iterdir()}
    assert before.items() <= after.items() and len(after) == 10
    kept.close()


def test_full_disk_stops_a_job_until_there_is_room(tmp_path: Path, model: Model) -> None:
    """The limit on the size of files fails writes as a full disk does."""
    kept = Kept(tmp_path)
    options = ["--data-dir", str(tmp_path), "--model", model.url, "--submit", "one:200"]
    with worker(*options, "--file-limit", "250000") as process:
        (job,) = process.jobs()
        wait_until(lambda: model.calls and time.monotonic() - model.last > 1.5)
        assert kept.job(job).state == "RUNNING"
        process.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: is_over(kept, job))
    check(kept, model, job, 200, in_flight=0)
    kept.close()


def test_job_of_a_killed_worker_is_taken_over_by_another_within_ten_seconds(
    database: str, tmp_path: Path, model: Model
) -> None:
    kept = Kept(tmp_path, database)
    go_on = hold(model)
    options = ["--data-dir", str(tmp_path), "--database", database]
    with worker(*options, "--model", model.url, "--submit", "one:200") as first:
        (job,) = first.jobs()
        wait_until(lambda: kept.rows(job))
        with worker(*options) as second:
            second.jobs()
            first.process.kill()
            died = time.monotonic()
            go_on.set()
            wait_until(lambda: (kept.job(job).worker or "").split("-")[1:2] == [str(second.process.pid)])
            assert time.monotonic() - died < 10
            wait_until(lambda: is_over(kept, job))
    check(kept, model, job, 200, in_flight=1)
    kept.close()


def test_frozen_worker_loses_its_job_and_doubles_nothing_when_it_comes_back(
    database: str, tmp_path: Path, model: Model
) -> None:
    kept = Kept(tmp_path, database)
    go_on = hold(model)
    options = ["--data-dir", str(tmp_path), "--database", database, "--silence", "2"]
    with worker(*options, "--model", model.url, "--submit", "one:300") as first, worker(*options) as second:
        (job,) = first.jobs()
        second.jobs()
        wait_until(lambda: kept.rows(job))
        frozen = first if f"-{first.process.pid}-" in kept.job(job).worker else second
        os.kill(frozen.process.pid, signal.SIGSTOP)
        wait_until(lambda: kept.job(job).attempt == 2 and kept.job(job).worker, seconds=10)
        go_on.set()
        os.kill(frozen.process.pid, signal.SIGCONT)
        wait_until(lambda: is_over(kept, job), seconds=60)
        assert frozen.process.poll() is None
    check(kept, model, job, 300, in_flight=2)
    kept.close()


def test_job_goes_on_after_its_database_was_away(
    postgres: Postgres, database: str, tmp_path: Path, model: Model
) -> None:
    """It is killed, so that commits may have been made whose answer was lost."""
    options = ["--data-dir", str(tmp_path), "--database", database, "--model", model.url]
    with worker(*options, "--submit", "one:300", "two:300") as process:
        jobs = process.jobs()
        kept = Kept(tmp_path, database)
        wait_until(lambda: all(kept.rows(job) for job in jobs))
        kept.close()
        postgres.stop("immediate")
        time.sleep(1.5)
        postgres.start()
        kept = Kept(tmp_path, database)
        wait_until(lambda: all(is_over(kept, job) for job in jobs), seconds=60)
        assert process.process.poll() is None
    for job in jobs:
        check(kept, model, job, 300, in_flight=0)
    kept.close()


def test_two_workers_that_start_together_on_an_empty_database_both_work(
    database: str, tmp_path: Path, model: Model
) -> None:
    options = ["--data-dir", str(tmp_path), "--database", database, "--model", model.url, "--submit", "one:50"]
    with worker(*options) as first, worker(*options) as second:
        (job,) = first.jobs()
        assert second.jobs() == [job]
        kept = Kept(tmp_path, database)
        wait_until(lambda: is_over(kept, job))
    check(kept, model, job, 50, in_flight=0)
    kept.close()


def test_readers_of_another_worker_follow_a_job_through_postgres(database: str, tmp_path: Path, model: Model) -> None:
    """In the process of the test: a reader that works on nothing, of many lines and of few."""

    async def read(job: str) -> list[str]:
        settings = JobSettings(data_dir=tmp_path, database_url=SecretStr(database))
        engine = JobEngine(settings, [counting_family(1, missing="it reads")])
        await engine.start()
        lines = [line async for some in engine.follow(job, "data", 0) for line in some]
        await engine.stop()
        return lines

    options = ["--data-dir", str(tmp_path), "--database", database, "--model", model.url, "--submit", "one:300"]
    with worker(*options) as process:
        (job,) = process.jobs()
        kept = Kept(tmp_path, database)
        wait_until(lambda: len(kept.rows(job)) > 100)
        lines = asyncio.run(read(job))
    assert [json.loads(line)["n"] for line in lines] == list(range(300))
    kept.close()
