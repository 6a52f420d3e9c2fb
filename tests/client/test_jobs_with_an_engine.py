"""The job client against the real engine: in a process of its own, killed and stopped while a stream is read."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from engine_process import EngineProcess, engine_process

from pi_integrations import AsyncPiClient, PiClient, PiJobFailed, PiStatusError
from pi_integrations.models import JobState

SEEDS = [("Where is my order?", "It left our warehouse this morning.")]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with engine_process(tmp_path_factory.mktemp("engine"), latency=0.02) as running:
        yield running


@pytest.fixture
def client(engine: EngineProcess) -> Iterator[PiClient]:
    with PiClient(base_url=engine.url) as client:
        yield client


def test_pairs_arrive_in_the_order_they_are_kept(client: PiClient) -> None:
    """The stream, the stream from the middle, and the result hold the same."""
    job = client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=12, seeds=SEEDS, batch_size=4)
    pairs = list(job.data())
    assert job.result(timeout=10).data == pairs
    assert list(job.data(start=7)) == pairs[7:]
    assert len({pair.llm_input for pair in pairs}) == 12
    messages = list(job.messages())
    assert (messages[0], messages[-1]) == ("LAUNCHING", "DONE")


def test_a_job_is_picked_up_by_its_id_elsewhere(engine: EngineProcess, client: PiClient) -> None:
    """By another client, while it runs."""
    job_id = client.data.generate.start_job(num_inputs_to_generate=20, seeds=[], batch_size=4).job_id
    with PiClient(base_url=engine.url) as other:
        inputs = list(other.data.generate.job(job_id).data())
        assert len(inputs) == 20
        assert job_id in {status.job_id for status in other.data.generate.list("DONE")}


def test_a_job_of_another_family_is_unknown(client: PiClient) -> None:
    """404 for status, streams, result and cancel."""
    job_id = client.data.generate.start_job(num_inputs_to_generate=1, seeds=[]).job_id
    wrong = client.data.generate_input_response_pairs.job(job_id)
    ways: list[Callable[[], object]] = [
        wrong.status,
        wrong.cancel,
        wrong.result,
        lambda: list(wrong.data()),
        lambda: list(wrong.messages()),
    ]
    for way in ways:
        with pytest.raises(PiStatusError, match=r"404.*Check the job id"):
            way()


def test_one_key_is_one_job_and_another_body_a_conflict(client: PiClient) -> None:
    """On the real routes."""
    start = client.data.generate.start_job
    first = start(num_inputs_to_generate=2, seeds=[], idempotency_key="nightly")
    assert start(num_inputs_to_generate=2, seeds=[], idempotency_key="nightly").job_id == first.job_id
    with pytest.raises(PiStatusError, match=r"409.*idempotency_key"):
        start(num_inputs_to_generate=3, seeds=[], idempotency_key="nightly")


async def test_a_cancel_from_another_loop_ends_both_readers(engine: EngineProcess) -> None:
    """Each has all that was made; the result raises."""
    async with AsyncPiClient(base_url=engine.url) as client:
        job = await client.data.generate.start_job(num_inputs_to_generate=5000, seeds=[], batch_size=4)
        stream = job.data()
        head = [await anext(stream) for _ in range(8)]
        thread = threading.Thread(target=lambda: asyncio.run(job.cancel()))
        thread.start()
        rest = [text async for text in stream]
        second = [text async for text in job.data()]
        assert second == head + rest
        with pytest.raises(PiJobFailed, match="cancelled"):
            await job.result(timeout=10)
        assert (await job.status()).data == second
        await asyncio.to_thread(thread.join)


async def test_a_stream_outlives_its_engine(engine: EngineProcess) -> None:
    """Killed, and then stopped in good order, each time started again: every item once, in order."""
    async with AsyncPiClient(base_url=engine.url) as client:
        start = client.data.generate_input_response_pairs.start_job
        job = await start(num_pairs_to_generate=240, seeds=SEEDS, batch_size=3)
        result = asyncio.create_task(job.result())
        pairs = []
        async for pair in job.data():
            pairs.append(pair)
            if len(pairs) in (9, 30):
                assert not result.done()
                await asyncio.to_thread(engine.kill if len(pairs) == 9 else engine.stop)
                asyncio.get_running_loop().call_later(0.3, engine.start)
        status = await asyncio.wait_for(result, 10)
    assert (status.state, len(pairs)) == (JobState.DONE, 240)
    assert status.data == pairs
