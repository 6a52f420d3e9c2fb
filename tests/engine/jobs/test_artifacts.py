"""The files of a job: where they may be, how large, and when they go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_jobs import CountRequest, eventually, settings_at

from pi_integrations.engine.jobs import FamilyWork, JobSettings, JobStopped, Run
from pi_integrations.engine.jobs.engine import JobEngine
from pi_integrations.engine.jobs.family import Artifacts
from pi_integrations.errors import PiUsageError
from pi_integrations.models import JobState, JobStatus
from pi_integrations.models.families import JobFamily

FILES = JobFamily("/test/files", "files", CountRequest, JobStatus)


async def write_a_file(request: CountRequest, run: Run) -> Mapping[str, Any]:
    """Appends to a file, and stays at work for `latency` seconds in the first attempt."""
    if request.batches:
        file = run.artifacts.path("logs/attempts.txt")
        is_first = not file.exists()
        with file.open("a") as opened:
            opened.write("attempt\n")
        if is_first:
            await asyncio.sleep(request.latency)
    run.artifacts.check_room(request.batches)
    return {"size": run.artifacts.size()}


WORK: FamilyWork[CountRequest] = FamilyWork(FILES, write_a_file)


async def submit(engine: JobEngine, **body: Any) -> str:
    """The id of a new job."""
    return (await engine.submit(WORK, CountRequest(**body), owner="")).record.job_id


async def result(engine: JobEngine, job_id: str) -> tuple[JobState, Any, str | None]:
    """State, size and error of a job that has ended."""
    async for _ in engine.follow(job_id, "messages", 0):
        pass
    view = await engine.view(WORK, job_id, owner="")
    assert view is not None
    return view.record.state, view.record.result.get("size"), view.record.error


async def test_files_survive_the_attempt_that_wrote_them(tmp_path: Path) -> None:
    """An engine that stops at work leaves them to the next."""
    file = None
    engine = JobEngine(settings_at(tmp_path), [WORK])
    await engine.start()
    job_id = await submit(engine, latency=60)
    file = tmp_path / "artifacts" / job_id / "logs" / "attempts.txt"

    async def is_written() -> bool:
        return file.exists() and bool(file.read_text())

    await eventually(is_written)
    await engine.stop()
    engine = JobEngine(settings_at(tmp_path), [WORK])
    await engine.start()
    try:
        assert await result(engine, job_id) == (JobState.DONE, 16, None)
        assert file.read_text() == "attempt\n" * 2
    finally:
        await engine.stop()


async def test_files_are_removed_with_their_job_and_those_of_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    engine = JobEngine(settings_at(tmp_path), [WORK])
    await engine.start()
    job_id = await submit(engine)
    await result(engine, job_id)
    await engine.stop()
    (folder / "other").mkdir()
    engine = JobEngine(settings_at(tmp_path, retention_days=1e-9), [WORK])
    await engine.start()

    async def is_gone() -> bool:
        return not (folder / job_id).exists() and await engine.get(WORK, job_id, owner="") is None

    try:
        await eventually(is_gone)
        assert [each.name for each in folder.iterdir()] == ["other"]
    finally:
        await engine.stop()


async def test_job_that_uses_no_files_has_no_folder(tmp_path: Path) -> None:
    engine = JobEngine(settings_at(tmp_path), [WORK])
    await engine.start()
    try:
        assert await result(engine, await submit(engine, batches=0)) == (JobState.DONE, 0, None)
    finally:
        await engine.stop()
    assert not (tmp_path / "artifacts").exists()


async def test_job_without_room_ends_in_error_with_the_limit_and_the_setting(tmp_path: Path) -> None:
    engine = JobEngine(settings_at(tmp_path, max_artifact_bytes=9), [WORK])
    await engine.start()
    try:
        state, _, error = await result(engine, await submit(engine, batches=2))
    finally:
        await engine.stop()
    assert state is JobState.ERROR
    assert error is not None and "would take 10 bytes, and 9 are allowed" in error and "max_artifact_bytes" in error


def test_room_is_limited_for_all_jobs_together(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, max_artifact_bytes=100, max_total_artifact_bytes=150)
    for job_id in ("a", "b"):
        Artifacts(settings, job_id).path("file").write_bytes(bytes(70))
    one = Artifacts(settings, "a")
    assert one.size() == 70
    one.check_room(10)
    with pytest.raises(JobStopped, match="files of all jobs would take 151 bytes, and 150"):
        one.check_room(11)
    with pytest.raises(JobStopped, match="files of this job would take 101 bytes, and 100"):
        one.check_room(31)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "out", "out/x", "loop", "nul\0", "../job2/x"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    """By `..`, from the root, by a link to somewhere else, and by one that leads nowhere."""
    artifacts = Artifacts(settings_at(tmp_path), "job")
    folder = artifacts.path("inside").parent
    (folder / "out").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    with pytest.raises(PiUsageError, match="is not below the job's folder"):
        artifacts.path(name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["artifacts"]


def test_links_are_neither_measured_nor_removed_with_the_job(tmp_path: Path) -> None:
    """A link within the folder is fine; what it leads to elsewhere stays."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "big").write_bytes(bytes(10_000))
    artifacts = Artifacts(settings_at(tmp_path / "data"), "job")
    file = artifacts.path("checkpoints/step-1")
    file.write_bytes(bytes(5))
    (file.parent / "latest").symlink_to(file)
    (file.parent / "linked").symlink_to(elsewhere)
    assert artifacts.path("checkpoints/latest") == file
    assert artifacts.size() < 1000
    artifacts.remove()
    artifacts.remove()
    assert not file.parent.exists()
    assert (elsewhere / "big").exists()


@pytest.mark.parametrize("name", ["max_artifact_bytes", "max_total_artifact_bytes"])
def test_limits_come_from_the_environment_and_are_checked(name: str) -> None:
    variable = f"PI_ENGINE_{name.upper()}"
    assert getattr(JobSettings.from_env({variable: "4096"}), name) == 4096
    with pytest.raises(PiUsageError, match=variable):
        JobSettings.from_env({variable: "20 GiB"})
    with pytest.raises(PiUsageError, match=name):
        JobSettings(**{name: 0})  # type: ignore[arg-type]
