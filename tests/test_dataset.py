"""`PiDataset` on the real engine with real jobs: rows as they come, filtered, written, turned into tables."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from generating import POLITE, SEEDS, generating_client

from pi_integrations import PiClient, PiUsageError
from pi_integrations.datasets import DatasetRow, JobSource, PiDataset
from pi_integrations.errors import PiJobFailed

START = {"num_pairs_to_generate": 12, "seeds": SEEDS}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PiClient]:
    """Over one engine for this module."""
    with generating_client(tmp_path_factory.mktemp("jobs")) as client:
        yield client


@pytest.fixture(scope="module")
def done(client: PiClient) -> Any:
    """A job of twelve pairs that has ended."""
    job = client.data.generate_input_response_pairs.start_job(**START)
    job.result(timeout=30)
    return job


def test_rows_are_the_jobs_pairs_in_order(client: PiClient, done: Any) -> None:
    """With their number and job."""
    rows = list(PiDataset(done))
    assert [(row.job_id, row.index) for row in rows] == [(done.job_id, number) for number in range(12)]
    assert [(row.llm_input, row.llm_output) for row in rows] == [
        (pair.llm_input, pair.llm_output) for pair in done.status().data
    ]


async def test_async_iteration_gives_the_same(client: PiClient, done: Any) -> None:
    """From a loop of the caller's own, by id."""
    dataset = PiDataset(job_id=done.job_id, client=client.asynchronous)
    assert [row async for row in dataset] == list(PiDataset(done))


def test_a_job_is_started_once_however_many_ask(client: PiClient) -> None:
    """Four threads iterate one dataset that is to start a job."""
    dataset = PiDataset(client=client, start={"num_pairs_to_generate": 5, "seeds": SEEDS})
    assert dataset.job_id is None
    before = len(client.data.generate_input_response_pairs.list())
    found: list[list[DatasetRow]] = []
    threads = [threading.Thread(target=lambda: found.append(list(dataset))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(rows == found[0] and len(rows) == 5 for rows in found)
    assert len(client.data.generate_input_response_pairs.list()) == before + 1


def test_rows_come_while_the_job_is_running(client: PiClient) -> None:
    """The first row is there long before the last is made."""
    # The module's engine is the only one a process may have: its generator is quick, so the job is made long instead.
    job = client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=400, seeds=SEEDS)
    for row in PiDataset(job):
        assert row.index == 0
        assert not job.status().state.final
        break
    job.cancel()


def test_min_score_leaves_out_and_counts(client: PiClient, done: Any) -> None:
    """Rows given, rows below, none lost."""
    dataset = PiDataset(done, client=client, scoring_spec=[{"question": POLITE}], min_score=0.5)
    rows = list(dataset)
    assert {row.scores.total_score for row in rows if row.scores} == {0.9}
    assert dataset.counts.given == len(rows) == sum(len(row.llm_output or "") % 2 for row in PiDataset(done))
    assert dataset.counts.below == 12 - len(rows)
    assert dataset.counts.unscored == 0


def test_rows_nobody_can_score_are_counted_not_zero(
    client: PiClient, done: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Without `min_score` they are given without scores; with it they are left out."""
    spec = [{"question": "What the scripted judge has no answer for?"}]
    dataset = PiDataset(done, client=client, scoring_spec=spec)
    assert [row.scores for row in dataset] == [None] * 12
    assert dataset.counts.unscored == 12
    assert list(PiDataset(done, client=client, scoring_spec=spec, min_score=0.0)) == []
    assert "12 rows have no score" in caplog.text


def test_scores_of_the_job_are_kept(client: PiClient) -> None:
    """A job with a scoring spec gives rows with scores, without a spec here."""
    spec = [{"question": POLITE, "label": "polite"}]
    dataset = PiDataset(client=client, start={**START, "scoring_spec": spec, "min_score": 0.5})
    rows = list(dataset)
    assert len(rows) == 12
    assert {row.metadata["total_score"] for row in rows} == {0.9}
    assert rows[0].metadata["question_scores"] == {"polite": 0.9}


def test_a_job_of_inputs_has_no_outputs(client: PiClient) -> None:
    """And cannot be scored: the error says so."""
    start = {"num_inputs_to_generate": 6, "seeds": [], "application_description": "A bicycle shop's help desk."}
    dataset = PiDataset(client=client, start=start, kind="inputs")
    assert [row.llm_output for row in dataset] == [None] * 6
    scored = PiDataset(job_id=dataset.job_id, kind="inputs", client=client, scoring_spec=[{"question": POLITE}])
    with pytest.raises(PiUsageError, match="no llm_output"):
        list(scored)


def test_a_cancelled_job_is_an_error_after_its_rows(client: PiClient, caplog: pytest.LogCaptureFixture) -> None:
    """What it made comes first; `allow_partial` takes it with a warning."""
    job = client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=2000, seeds=SEEDS)
    rows = iter(job.data())
    next(rows)
    job.cancel()
    made = len(job.status().data)
    got = []
    with pytest.raises(PiJobFailed, match=r"CANCELLED.*allow_partial"):
        got.extend(PiDataset(job))
    assert len(got) == made > 0
    assert len(list(PiDataset(job, allow_partial=True))) == made
    assert "CANCELLED" in caplog.text


@pytest.mark.parametrize("given", [{}, {"job_id": "a", "start": START}, {"job": "a job"}, {"job_id": "a", "kind": "x"}])
def test_not_exactly_one_job_is_refused(client: PiClient, given: dict[str, Any]) -> None:
    """Before anything is asked."""
    with pytest.raises(PiUsageError, match="give"):
        JobSource(client=client, **given)


def test_a_start_that_failed_is_tried_again(client: PiClient) -> None:
    """The error is the caller's to see, and not for ever."""
    source = PiDataset(client=client, start={"num_pairs_to_generate": 0, "seeds": []})
    for _ in range(2):
        with pytest.raises(PiUsageError, match="num_pairs_to_generate"):
            list(source)


def test_jsonl_goes_on_where_it_stopped(tmp_path: Path, done: Any) -> None:
    """A file cut off at any byte ends up whole, every row once."""
    path = tmp_path / "rows.jsonl"
    assert PiDataset(done).to_jsonl(path) == 12
    whole = path.read_bytes()
    assert PiDataset(done).to_jsonl(path) == 0
    for cut in range(0, len(whole), 97):
        path.write_bytes(whole[:cut])
        PiDataset(done).to_jsonl(path)
        assert path.read_bytes() == whole, f"cut at byte {cut}"
    first = json.loads(whole.splitlines()[0])
    assert (first["id"], first["index"], first["job_id"]) == (f"{done.job_id}-0", 0, done.job_id)


@pytest.mark.parametrize(
    "content",
    ['{"llm_input": "x"}\n', "not JSON\n", '{"job_id": "other", "index": 0}\n', '{"a": 1}', "a note without an end"],
)
def test_jsonl_never_touches_a_file_of_something_else(tmp_path: Path, done: Any, content: str) -> None:
    """It is refused, and left as it is."""
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(PiUsageError, match="something other than rows"):
        PiDataset(done).to_jsonl(path)
    assert path.read_text() == content


async def test_two_writers_of_one_file_are_told_apart(tmp_path: Path, client: PiClient) -> None:
    """The second is refused while the first writes."""
    job = client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=1500, seeds=SEEDS)
    path = tmp_path / "rows.jsonl"
    first = asyncio.create_task(PiDataset(job, allow_partial=True).ato_jsonl(path))
    while not path.exists() or not path.stat().st_size:  # noqa: ASYNC110 - another thread writes it
        await asyncio.sleep(0.01)
    with pytest.raises(PiUsageError, match="another process is writing to"):
        await PiDataset(job).ato_jsonl(path)
    await asyncio.to_thread(job.cancel)
    assert await first == len(path.read_text().splitlines())


def test_pandas_has_a_column_for_each_value(client: PiClient, done: Any) -> None:
    """One row each, with totals where rows were scored."""
    frame = PiDataset(done, client=client, scoring_spec=[{"question": POLITE}]).to_pandas()
    assert list(frame.columns) == [
        "id", "llm_input", "llm_output", "job_id", "index", "total_score", "question_scores",
    ]  # fmt: skip
    assert len(frame) == 12
    assert set(frame["total_score"]) <= {0.9, 0.2}


def test_huggingface_both_kinds_have_the_same_rows(client: PiClient, done: Any) -> None:
    """With the same features, iterated twice."""
    rows = PiDataset(done, client=client, scoring_spec=[{"question": POLITE}])
    table = rows.to_huggingface()
    stream = rows.to_huggingface(streaming=True)
    assert isinstance(table, datasets.Dataset)
    assert isinstance(stream, datasets.IterableDataset)
    assert list(stream) == list(table) == list(stream)
    assert stream.features == table.features
    assert table[0]["question_scores"] == [{"question": POLITE, "score": table[0]["total_score"]}]


class _LangSmith:
    """What of a LangSmith client is used, on a dictionary: the service itself cannot be had here."""

    def __init__(self) -> None:
        self.datasets: dict[str, dict[Any, dict[str, Any]]] = {}

    def has_dataset(self, *, dataset_name: str) -> bool:
        return dataset_name in self.datasets

    def create_dataset(self, dataset_name: str, *, description: str) -> Any:
        self.datasets[dataset_name] = {}
        return self.read_dataset(dataset_name=dataset_name)

    def read_dataset(self, *, dataset_name: str) -> Any:
        return type("Dataset", (), {"id": dataset_name})

    def list_examples(self, *, dataset_id: str, example_ids: list[Any]) -> list[Any]:
        there = self.datasets[dataset_id]
        return [type("Example", (), {"id": each}) for each in example_ids if each in there]

    def create_examples(self, *, dataset_id: str, examples: list[dict[str, Any]]) -> None:
        self.datasets[dataset_id] |= {each["id"]: each for each in examples}


def test_langsmith_gets_every_row_once(done: Any) -> None:
    """A second run adds nothing; one that lost an example adds that."""
    service = _LangSmith()
    dataset = PiDataset(done)
    assert dataset.to_langsmith(service, "bicycles") == 12
    assert dataset.to_langsmith(service, "bicycles") == 0
    examples = service.datasets["bicycles"]
    lost = next(iter(examples))
    assert set(examples[lost]["inputs"]) == {"llm_input"}
    del examples[lost]
    assert dataset.to_langsmith(service, "bicycles") == 1


def test_langsmith_gets_the_rows_before_an_error(client: PiClient) -> None:
    """What a cancelled job made is added before its error is raised."""
    job = client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=2000, seeds=SEEDS)
    next(iter(job.data()))
    job.cancel()
    service = _LangSmith()
    with pytest.raises(PiJobFailed):
        PiDataset(job).to_langsmith(service, "bicycles")
    assert len(service.datasets["bicycles"]) == len(job.status().data) > 0


def test_abandoned_iterations_leave_nothing_behind(client: PiClient) -> None:
    """A hundred streams left after their first row, of a job that goes on."""
    job = client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=2000, seeds=SEEDS)
    next(iter(job.data()))
    before = threading.active_count()
    for _ in range(100):
        for _row in PiDataset(job):
            break
    job.cancel()
    deadline = time.monotonic() + 5
    while threading.active_count() > before + 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before + 2
