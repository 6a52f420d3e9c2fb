"""Transactions whose answer was lost with the database are made again: the second time they change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pi_integrations.engine.jobs.database import Database
from pi_integrations.engine.jobs.store import AttemptOver, Commit, JobStore, KeyConflict
from pi_integrations.engine.jobs.tables import JobView, jobs
from pi_integrations.models.jobs import JobState

JOB = "a" * 32
Do = Callable[[Callable[[sa.Connection], Any]], Any]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with its tables."""
    made = Database(None, tmp_path)
    made.create_tables()
    yield made
    made.engine.dispose()


@pytest.fixture
def do(database: Database) -> Do:
    """Runs a function of a connection twice, each in a transaction; what the second said."""

    def twice(work: Callable[[sa.Connection], Any]) -> Any:
        for _ in range(2):
            with database.engine.begin() as connection:
                result = work(connection)
        return result

    return twice


@pytest.fixture
def store(database: Database, do: Do) -> JobStore:
    """A store with one job, claimed by worker `w`."""
    store = JobStore(database)
    do(lambda c: create(store, c, "{}"))
    do(lambda c: store.claim(c, JOB, 1, "w"))
    return store


def create(store: JobStore, connection: sa.Connection, request: str, **given: Any) -> Any:
    fields = {"job_id": JOB, "family": "/f", "owner": "", "idempotency_key": None, "webhook_url": None, **given}
    return store.create(connection, request=request, **fields)


def seen(store: JobStore, do: Do) -> JobView:
    view: JobView = do(lambda c: store.view(c, JOB, rows=True))
    return view


def test_creating_and_claiming_again_gives_the_same_job(store: JobStore, do: Do) -> None:
    view = seen(store, do)
    assert (view.record.state, view.record.worker, view.messages) == (JobState.RUNNING, "w", ["LAUNCHING", "RUNNING"])


def test_commit_made_again_appends_nothing(store: JobStore, do: Do) -> None:
    do(lambda c: store.commit(c, Commit(JOB, 1, 0, 2, ["1", "2"], ["two"], '{"next": 2}')))
    do(lambda c: store.commit(c, Commit(JOB, 1, 2, 3, ["3"], [], None)))
    view = seen(store, do)
    assert (view.rows, view.messages[2:], view.record.progress) == (["1", "2", "3"], ["two"], {"next": 2})


def test_end_made_again_leaves_the_first(store: JobStore, do: Do) -> None:
    assert do(lambda c: store.finish(c, JOB, JobState.CANCELLED)) is False
    assert seen(store, do).messages[2:] == ["CANCELLED"]


def test_next_attempt_begins_once(store: JobStore, do: Do) -> None:
    assert do(lambda c: store.next_attempt(c, JOB, 1, 0)) is None
    assert seen(store, do).record.attempt == 2


def test_first_answer_is_the_one_that_is_kept(store: JobStore, do: Do) -> None:
    assert do(lambda c: store.record(c, JOB, "key", '"first"')) == '"first"'
    assert do(lambda c: store.record(c, JOB, "key", '"second"')) == '"first"'


def test_writes_for_an_earlier_attempt_are_refused(store: JobStore, do: Do) -> None:
    do(lambda c: store.next_attempt(c, JOB, 1, 0))
    for refused in (
        lambda c: store.commit(c, Commit(JOB, 1, 0, 2, ["1"])),
        lambda c: store.finish(c, JOB, JobState.DONE, attempt=1),
        lambda c: store.claim(c, JOB, 1, "w"),
    ):
        with pytest.raises(AttemptOver):
            do(refused)
    assert seen(store, do).rows == []


def test_answers_for_a_job_that_ended_are_not_kept(store: JobStore, do: Do) -> None:
    do(lambda c: store.finish(c, JOB, JobState.DONE))
    do(lambda c: store.record(c, JOB, "late", "1"))
    assert do(lambda c: store.answer(c, JOB, "late")) is None


def test_conflicting_body_is_found_by_its_key_alone(store: JobStore, do: Do) -> None:
    other = {"job_id": "b" * 32, "idempotency_key": "k"}
    assert do(lambda c: create(store, c, "{}", **other)).job_id == "b" * 32
    with pytest.raises(KeyConflict):
        do(lambda c: create(store, c, '{"n":1}', job_id="c" * 32, idempotency_key="k"))


def test_rows_and_answers_that_are_kept_end_a_row_of_crashes(store: JobStore, do: Do) -> None:
    def crashes() -> int:
        count: int = do(lambda c: c.execute(sa.select(jobs.c.crashes).where(jobs.c.job_id == JOB)).scalar_one())
        return count

    def begin(attempt: int) -> None:
        do(lambda c: store.next_attempt(c, JOB, attempt - 1, 3))
        do(lambda c: store.claim(c, JOB, attempt, "w"))

    begin(2)
    do(lambda c: store.commit(c, Commit(JOB, 2, 0, 2, [], ["on it"], '{"paid": 1}')))
    assert crashes() == 3
    do(lambda c: store.commit(c, Commit(JOB, 2, 0, 3, ["1"])))
    assert crashes() == 0
    begin(3)
    do(lambda c: store.record(c, JOB, "key", '"answer"'))
    assert crashes() == 0
    begin(4)
    do(lambda c: store.record(c, JOB, "key", '"the same"'))
    assert crashes() == 3
