"""The life of an engine: start, stop, restart, two at a time, many jobs, owners, and jobs past their time."""

from __future__ import annotations

import asyncio
import gc
import json
import stat
import threading
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from tiny_jobs import COUNT, ELSEWHERE, TWO_CALLS, Tiny, begun, ended, eventually, running, settings_at, start

from pi_integrations.engine.jobs import JobSettings
from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.dbos_queue import DbosQueue, QueueAway
from pi_integrations.engine.jobs.engine import JobEngine
from pi_integrations.engine.jobs.store import JobStore
from pi_integrations.errors import PiUsageError


async def test_job_goes_on_where_a_stopped_engine_left_it(tmp_path: Path) -> None:
    """Each answer was asked for once, but for the one in flight when the engine stopped."""
    first, second = Tiny(), Tiny()
    async with running(first, settings_at(tmp_path)) as (client, _):
        job = await start(client, batches=30, latency=0.02)
        await begun(client, job, rows=20)
    async with running(second, settings_at(tmp_path)) as (client, _):
        status = await ended(client, job)
    assert status["data"] == [{"n": number} for number in range(150)]
    assert [m for m in status["detailed_status"] if m.startswith("batch")] == [f"batch {n}" for n in range(30)]
    assert status["detailed_status"].count("RUNNING") == 1
    both = first.calls.keys() & second.calls.keys()
    assert len(both) <= 1 and set((first.calls + second.calls).values()) <= {1, 2}


async def test_recorded_answer_that_no_row_was_made_of_is_not_asked_for_again(tmp_path: Path) -> None:
    tiny = Tiny()
    async with running(tiny, settings_at(tmp_path)) as (client, _):
        job = await start(client, TWO_CALLS, latency=1.0)

        async def is_asking() -> bool:
            return tiny.calls["slow"] == 1

        await eventually(is_asking)
    async with running(tiny, settings_at(tmp_path)) as (client, _):
        assert (await ended(client, job, TWO_CALLS))["data"] == [["quick", "slow"]]
    assert tiny.calls == {"quick": 1, "slow": 2}


async def test_job_that_could_not_be_queued_at_once_is_queued_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process that accepted it died in between."""
    settings = settings_at(tmp_path, beat_seconds=0.2, silence_seconds=1.0)
    async with running(Tiny(), settings) as (client, _):
        with monkeypatch.context() as patched:
            patched.setattr(DbosQueue, "enqueue", fail_to_enqueue)
            job = await start(client, batches=1)
        assert (await ended(client, job))["state"] == "DONE"


async def fail_to_enqueue(queue: DbosQueue, job_id: str, attempt: int, family: str) -> None:
    raise QueueAway("the queue is away")


async def test_job_at_which_worker_after_worker_dies_is_given_up(tmp_path: Path) -> None:
    """One that stops in between, as for an update, does not count."""
    database = Database(None, tmp_path)
    store = JobStore(database)
    job = "d" * 32

    def claim(connection: sa.Connection, attempt: int) -> None:
        worker = f"elsewhere-1-1-{attempt}"
        store.claim(connection, job, attempt, worker)
        if attempt == 3:
            store.uncount_crash(connection, worker)

    async with running(Tiny(), settings_at(tmp_path, beat_seconds=0.05, silence_seconds=1.0)) as (client, _):
        fields = {"family": ELSEWHERE, "owner": "", "request": "{}", "idempotency_key": None, "webhook_url": None}
        await database.write(partial(store.create, job_id=job, **fields))
        for attempt in range(1, 7):
            await database.write(partial(claim, attempt=attempt))

            async def is_lost(attempt: int = attempt) -> bool:
                record = await database.read(partial(store.get, job_id=job))
                return record is None or record.attempt > attempt or record.state.final

            await eventually(is_lost)
        status = await ended(client, job, ELSEWHERE)
    await database.aclose()
    assert status["state"] == "ERROR"
    assert "5 workers in a row died" in status["detailed_status"][-2]


async def test_queued_jobs_survive_a_restart(tmp_path: Path) -> None:
    async with running(Tiny(), settings_at(tmp_path)) as (client, _):
        jobs = [await start(client, batches=1) for _ in range(6)]
    async with running(Tiny(), settings_at(tmp_path)) as (client, _):
        assert [(await ended(client, job))["state"] for job in jobs] == ["DONE"] * 6


async def test_stop_ends_streams_and_leaves_no_thread_behind(tmp_path: Path) -> None:
    gc.collect()
    before = set(threading.enumerate())
    async with running(Tiny(), settings_at(tmp_path)) as (client, _):
        job = await start(client, batches=1000, latency=0.02)
        stream = asyncio.create_task(client.get(f"{COUNT}/{job}/data"))
        await begun(client, job)
    got = [json.loads(line)["n"] for line in (await asyncio.wait_for(stream, 20)).text.splitlines()]
    assert got == list(range(len(got)))
    left = [thread.name for thread in set(threading.enumerate()) - before if not thread.name.startswith("asyncio_")]
    assert left == []


def open_files() -> int:
    """How many files this process has open; skips where the system does not tell."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("this system does not tell which files a process has open")
    return len(list(descriptors.iterdir()))


async def test_open_files_do_not_grow_with_engines_started_and_stopped(tmp_path: Path) -> None:
    counts = []
    for _ in range(3):
        async with running(Tiny(), settings_at(tmp_path)) as (client, _):
            await start(client, batches=0)
        gc.collect()
        counts.append(open_files())
    assert counts[2] <= counts[1]


async def test_second_engine_of_a_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with running(Tiny(), settings_at(tmp_path)) as (client, _):
        second = JobEngine(settings_at(tmp_path / "other"), Tiny().families())
        with pytest.raises(PiUsageError, match="this process runs a job engine already"):
            await second.start()
        await second.stop()
        assert (await ended(client, await start(client)))["state"] == "DONE"


async def test_dozens_of_queued_jobs_are_all_done_and_can_be_listed(tmp_path: Path) -> None:
    tiny = Tiny(concurrency=100)
    async with running(tiny, settings_at(tmp_path)) as (client, _):
        jobs = [await start(client, batches=1) for _ in range(60)]
        assert len((await client.get(COUNT)).json()) == 60
        states = [(await ended(client, job))["state"] for job in jobs]
    assert states == ["DONE"] * 60
    assert set(tiny.calls.values()) == {1}


async def test_job_past_its_retention_is_gone_with_all_it_made(tmp_path: Path) -> None:
    async with running(Tiny(), settings_at(tmp_path)) as (client, _):
        job = await start(client, batches=2)
        await ended(client, job)
    async with running(Tiny(), settings_at(tmp_path, retention_days=1e-9)) as (client, engine):

        async def is_gone() -> bool:
            return (await client.get(f"{COUNT}/{job}")).status_code == 404 and not await lines_kept(engine)

        await eventually(is_gone)
        assert (await client.get(COUNT)).json() == []


async def lines_kept(engine: JobEngine) -> int:
    """How many lines the database holds."""
    counted = engine._database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM pi_job_lines").scalar_one())
    return int(await counted)


async def test_jobs_belong_to_the_key_that_started_them(tmp_path: Path) -> None:
    keys = [SecretStr("alice-key"), SecretStr("bob-key")]
    alice, bob = ({"x-api-key": key.get_secret_value()} for key in keys)
    async with running(Tiny(), settings_at(tmp_path), keys) as (client, _):
        response = await client.post(COUNT, json={"batches": 1}, headers={**alice, "idempotency-key": "same"})
        job = response.json()["job_id"]
        status = await ended(client, job, **alice)
        for end in ("", "/messages", "/data"):
            assert (await client.get(f"{COUNT}/{job}{end}", headers=alice)).status_code == 200
            assert (await client.get(f"{COUNT}/{job}{end}", headers=bob)).status_code == 404
        assert (await client.delete(f"{COUNT}/{job}", headers=bob)).status_code == 404
        assert (await client.get(f"{COUNT}/{job}")).status_code == 401
        assert (await client.get(COUNT, headers=bob)).json() == []
        assert status["state"] == "DONE"
        other = await client.post(COUNT, json={"batches": 2}, headers={**bob, "idempotency-key": "same"})
        assert other.status_code == 200 and other.json()["job_id"] != job


async def test_requests_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    async with running(Tiny(), settings_at(tmp_path / "new")):
        pass
    modes = [stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) for name in ("", "jobs.sqlite", "dbos.sqlite")]
    assert modes == [0o700, 0o600, 0o600]


async def test_data_directory_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PiUsageError, match="--data-dir"):
        JobEngine(settings_at(tmp_path / "file" / "below"), [])


async def test_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_text("this is no database" * 100)
    engine = JobEngine(settings_at(tmp_path), [])
    with pytest.raises(PiUsageError, match="cannot be used"):
        await engine.start()
    await engine.stop()


@pytest.mark.parametrize("url", ["mysql://host/db", "nonsense", "sqlite:///jobs.sqlite"])
def test_database_url_that_is_not_of_postgres_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(PiUsageError, match="not one of Postgres") as refused:
        JobEngine(JobSettings(database_url=SecretStr(url)), [])
    assert url not in str(refused.value)


async def test_postgres_that_is_not_there_is_said_so_without_the_password(tmp_path: Path) -> None:
    url = SecretStr(f"postgresql://pi:hidden@/pi?host={tmp_path}")
    engine = JobEngine(JobSettings(database_url=url, data_dir=tmp_path), [])
    with pytest.raises(PiUsageError, match="--database-url") as refused:
        await engine.start()
    assert "hidden" not in str(refused.value)
    await engine.stop()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"retention_days": -1.0}, "retention_days"),
        ({"retention_days": float("nan")}, "retention_days"),
        ({"beat_seconds": 5.0}, "beat_seconds"),
        ({"webhook_hosts": ("example.com",)}, "webhook_secret"),
        ({"webhook_hosts": "example.com"}, "tuple"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(given: dict[str, object], named: str) -> None:
    with pytest.raises(PiUsageError, match=named):
        JobSettings(**given)  # type: ignore[arg-type]
