"""Families of jobs: what is sent, what comes back, and what is refused before anything is sent."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import time
from typing import Any

import pytest
from fault_server import http
from job_server import HOLD, INPUTS, PAIRS, JobServer, job_server
from pydantic import BaseModel, Field

from pi_integrations import (
    AsyncPiClient,
    PiClient,
    PiConnectionError,
    PiJobFailed,
    PiResponseError,
    PiStatusError,
    PiUsageError,
    RetryPolicy,
)
from pi_integrations.client import GenerateInputResponsePairs
from pi_integrations.models import InputResponsePair, JobState, JobStatus, ScoreResult, families
from pi_integrations.models.families import FAMILIES, JobFamily

QUICK = RetryPolicy(attempts=4, initial=0.005, maximum=0.02, total=5)
SCORES = ScoreResult.model_validate({"question_scores": {"q": 1}, "total_score": 1})
SEEDS: list[Any] = [
    InputResponsePair(llm_input="a", llm_output="b", scores=SCORES),
    {"llm_input": "c", "llm_output": "d", "note": "of mine"},
    ("e", "f"),
]


def client_of(server: JobServer, **given: Any) -> AsyncPiClient:
    return AsyncPiClient(base_url=server.url, **{"retry": QUICK, "api_key": "pi-key", **given})


async def test_a_start_sends_what_was_given_and_nothing_else() -> None:
    """The service's own defaults stay its own; seeds in three forms are pairs of two fields."""
    with job_server() as server:
        async with client_of(server) as client:
            job = await client.data.generate_input_response_pairs.start_job(
                num_pairs_to_generate=50,
                seeds=SEEDS,
                exploration_mode="CREATIVE",
                scoring_spec=[{"question": "Is it polite?"}],
                min_score=0.7,
                max_cost_usd=1,
                webhook_url="https://hooks.example/done",
            )
    assert (job.job_id, server.asked[0].path) == ("job-1", PAIRS)
    assert server.asked[0].headers["x-api-key"] == "pi-key"
    sent = json.loads(server.asked[0].body)
    assert sent.pop("scoring_spec")[0]["question"] == "Is it polite?"
    assert sent == {
        "num_pairs_to_generate": 50,
        "seeds": [{"llm_input": i, "llm_output": o} for i, o in ("ab", "cd", "ef")],
        "exploration_mode": "CREATIVE",
        "min_score": 0.7,
        "max_cost_usd": 1.0,
        "webhook_url": "https://hooks.example/done",
    }


async def test_inputs_have_a_family_of_their_own() -> None:
    """Seeds may be none; an iterator will do."""
    with job_server() as server:
        async with client_of(server) as client:
            await client.data.generate.start_job(num_inputs_to_generate=5, seeds=iter(()), batch_size=125)
    assert server.asked[0].path == INPUTS
    assert json.loads(server.asked[0].body) == {"num_inputs_to_generate": 5, "seeds": [], "batch_size": 125}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a seed without output": ({"seeds": [("a", "b"), {"llm_input": "x"}]}, r"seeds\[1\]\.llm_output: Field required"),
    "a seed of numbers": ({"seeds": [(1, "b")]}, r"seeds\[0\]\.llm_input: Input should be a valid string"),
    "a seed of three": ({"seeds": [("a", "b"), ("a", "b", "c")]}, r"seeds\[1\] is a tuple"),
    "a seed that is a string": ({"seeds": ["ab"]}, r"seeds\[0\] is a str"),
    "seeds that are one pair": ({"seeds": {"llm_input": "a", "llm_output": "b"}}, "seeds is a dict"),
    "seeds that are nothing": ({"seeds": None}, "seeds is a NoneType"),
    "no pairs": ({"num_pairs_to_generate": 0}, "num_pairs_to_generate"),
    "ten million pairs": ({"num_pairs_to_generate": 10**7}, "num_pairs_to_generate.*100000"),
    "a batch of 11": ({"batch_size": 11}, "batch_size.*10"),
    "an unknown mode": ({"exploration_mode": "WILD"}, "exploration_mode.*CONSERVATIVE"),
    "a score without a spec": ({"min_score": 0.5}, "needs a scoring_spec"),
    "a spec of nothing": ({"scoring_spec": []}, "scoring_spec"),
    "a key of two lines": ({"idempotency_key": "a\nb"}, "idempotency_key"),
    "a key of 300": ({"idempotency_key": "k" * 300}, "at most 255"),
    "an empty key": ({"idempotency_key": " "}, "idempotency_key"),
    "half a character": ({"application_description": "\ud800"}, "application_description|Unicode"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_argument_is_named_before_anything_is_sent(case: str) -> None:
    """With index and field."""
    given, says = WRONG[case]
    with job_server() as server:
        async with client_of(server) as client:
            with pytest.raises(PiUsageError, match=says):
                await client.data.generate_input_response_pairs.start_job(
                    **{"num_pairs_to_generate": 5, "seeds": [], **given}
                )
        assert server.asked == []


@pytest.mark.parametrize("seeds", ["one", None, [""], [1], [None]])
async def test_inputs_need_texts_for_seeds(seeds: Any) -> None:
    """A lone string is no list of them."""
    with job_server() as server:
        async with client_of(server) as client:
            with pytest.raises(PiUsageError, match=r"seeds"):
                await client.data.generate.start_job(num_inputs_to_generate=5, seeds=seeds)
        assert server.asked == []


BUSY = http(429, {"detail": "busy"}, retry_after_ms="5")
CUT = http(200, '{"job_id": "jo')
STORMS = {"429": [BUSY] * 3, "cut answers": [CUT] * 3, "all sorts": [b"", http(503, {}, retry_after_ms="1"), CUT]}


@pytest.mark.parametrize("storm", STORMS)
async def test_a_start_that_is_tried_again_makes_one_job(storm: str) -> None:
    """Every try carries the same key, also after an answer that was lost when the job was made already."""
    with job_server(overrides={f"POST {INPUTS}": list(STORMS[storm])}) as server:
        async with client_of(server) as client:
            job = await client.data.generate.start_job(num_inputs_to_generate=5, seeds=[])
            assert job.job_id == "job-1"
        assert len(server.asked) == 4
        assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 1
        assert len({asked.body for asked in server.asked}) == 1


async def test_two_starts_are_two_jobs_unless_they_share_a_key() -> None:
    """A new key each, or the caller's."""
    with job_server() as server:
        async with client_of(server) as client:
            keys = [None, None, "nightly-2026-11-21", "nightly-2026-11-21"]
            starts = [
                client.data.generate.start_job(num_inputs_to_generate=5, seeds=[], idempotency_key=key) for key in keys
            ]
            jobs = [(await start).job_id for start in starts]
    assert jobs == ["job-1", "job-2", "job-3", "job-3"]


async def test_a_conflicting_key_is_never_retried() -> None:
    """409: it says what to do about it."""
    conflict = http(409, {"detail": "another body"}, x_should_retry="true")
    with job_server(overrides={f"POST {INPUTS}": [conflict] * 4}) as server:
        async with client_of(server) as client:
            with pytest.raises(PiStatusError, match="This idempotency_key has started another job"):
                await client.data.generate.start_job(num_inputs_to_generate=5, seeds=[], idempotency_key="k")
        assert len(server.asked) == 1


async def test_a_start_answered_by_a_web_page_is_no_job() -> None:
    """200, but HTML."""
    page = http(200, "<html>", content_type="text/html")
    with job_server(overrides={f"POST {INPUTS}": [page]}) as server:
        async with client_of(server) as client:
            with pytest.raises(PiResponseError, match=r"text/html.*a job status"):
                await client.data.generate.start_job(num_inputs_to_generate=5, seeds=[])


async def test_list_retrieve_and_cancel_are_their_routes() -> None:
    """Typed, with the filter on the wire."""
    with job_server(rows=["one", "two"]) as server:
        async with client_of(server) as client:
            family = client.data.generate
            assert [status.state for status in await family.list("DONE")] == [JobState.DONE]
            assert server.asked[-1].query == {"state": ["DONE"]}
            assert (await family.retrieve("job-1")).data == ["one", "two"]
            assert await family.cancel("job-1") == "cancelled"
            assert (await family.job("job-1").status()).state is JobState.CANCELLED
            with pytest.raises(PiUsageError, match="QUEUED, RUNNING"):
                await family.list("done?")


@pytest.mark.parametrize("job_id", ["", " ", ".", "..", None, 7])
async def test_what_can_be_no_job_id_is_refused(job_id: Any) -> None:
    """An empty one would be the list, two dots the family above."""
    with job_server() as server:
        client = client_of(server)
        with pytest.raises(PiUsageError, match="job_id"):
            client.data.generate.job(job_id)
        with pytest.raises(PiUsageError, match="job_id"):
            await client.data.generate.cancel(job_id)
        assert server.asked == []


async def test_a_job_id_stays_within_its_segment() -> None:
    """Slashes and question marks in it lead nowhere else."""
    with job_server() as server:
        async with client_of(server) as client:
            with pytest.raises(PiStatusError, match="404"):
                await client.data.generate.retrieve("../score?x#y")
        assert server.asked[0].path == "/data/generate/..%2Fscore%3Fx%23y"


async def test_a_result_is_waited_for_by_its_messages() -> None:
    """No status is asked for meanwhile; the final one has the data."""
    with job_server(state="RUNNING", messages=["LAUNCHING", "RUNNING"], rows=["one"]) as server:
        async with client_of(server) as client:
            waiting = asyncio.create_task(client.data.generate.job("job-1").result())
            while len(server.asked) < 2:  # noqa: ASYNC110 (the server is in another thread)
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)
            asked = len(server.asked)
            server.messages += ["one input made", "DONE"]
            server.state = "DONE"
            status = await asyncio.wait_for(waiting, 10)
        assert (status.state, status.data) == (JobState.DONE, ["one"])
        assert asked == 2
        assert len(server.asked) == 3


async def test_a_result_does_not_wait_for_a_state_that_comes_after_its_message() -> None:
    """Some services write the last message before the state."""
    with job_server(state="RUNNING", messages=["LAUNCHING"]) as server:
        async with client_of(server) as client:
            waiting = asyncio.create_task(client.data.generate.job("job-1").result())
            await asyncio.sleep(0.05)
            server.messages.append("DONE")
            await asyncio.sleep(0.05)
            server.state = "DONE"
            assert (await asyncio.wait_for(waiting, 10)).state is JobState.DONE


async def test_a_job_in_error_raises_with_its_last_messages() -> None:
    """And with the reason, the remedy, and a pickle of it."""
    messages = ["LAUNCHING", *(f"batch {i}" for i in range(9)), "ERROR"]
    with job_server(state="ERROR", messages=messages, error="the model answers prose") as server:
        async with client_of(server) as client:
            with pytest.raises(PiJobFailed, match=r"job-1 ended in ERROR: the model answers prose\. .*kept") as raised:
                await client.data.generate.job("job-1").result()
    assert raised.value.messages == messages[-5:]
    assert (raised.value.job_id, raised.value.state) == ("job-1", "ERROR")
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


async def test_a_cancelled_job_raises_where_its_result_is_waited_for() -> None:
    """Cancelled from elsewhere, meanwhile."""
    with job_server(state="RUNNING", messages=["LAUNCHING"]) as server:
        async with client_of(server) as client:
            job = client.data.generate.job("job-1")
            waiting = asyncio.create_task(job.result())
            await asyncio.sleep(0.05)
            await job.cancel()
            server.messages.append("CANCELLED")
            with pytest.raises(PiJobFailed, match="was cancelled"):
                await asyncio.wait_for(waiting, 10)


async def test_a_wait_can_be_bounded_without_ending_the_job() -> None:
    """TimeoutError, nothing cancelled, no stream left open."""
    with job_server(state="RUNNING", messages=["LAUNCHING"]) as server:
        async with client_of(server) as client:
            started = time.monotonic()
            with pytest.raises(TimeoutError, match=r"has not ended after 0\.2 s.*continues"):
                await client.data.generate.job("job-1").result(timeout=0.2)
            assert time.monotonic() - started < 10
        assert "DELETE" not in {asked.method for asked in server.asked}


async def test_a_service_that_was_never_there_is_not_waited_for() -> None:
    """The first request of a stream or a result has the tries of any call."""
    retry = RetryPolicy(attempts=2, initial=0.01, total=60)
    async with AsyncPiClient(base_url="http://127.0.0.1:9", retry=retry) as client:
        job = client.data.generate.job("job-1")
        for wait in (job.result(), anext(job.data())):
            with pytest.raises(PiConnectionError, match="2 attempts"):
                await asyncio.wait_for(wait, 5)


async def test_a_service_that_stays_away_ends_the_stream_with_the_way_on() -> None:
    """The message has the number to read on with."""
    with job_server(rows=["one", "two"], cuts=[HOLD]) as server:
        retry = RetryPolicy(attempts=2, initial=0.01, total=0.6)
        async with client_of(server, timeout=0.3, retry=retry) as client:
            items = client.data.generate.job("job-1").data()
            assert [await anext(items), await anext(items)] == ["one", "two"]
            server.overrides = {f"GET {INPUTS}/job-1": [b""] * 10_000}
            with pytest.raises(PiConnectionError, match=r"Gave up after .*continue with start=2"):
                await anext(items)


async def test_a_service_that_is_away_is_waited_for() -> None:
    """In the middle of a stream: longer than the tries of one call, as while an engine is restarted."""
    away = http(503, {"detail": "starting"}, retry_after_ms="10")
    with job_server(rows=["one", "two"], cuts=[HOLD]) as server:
        async with client_of(server, timeout=0.3) as client:
            items = client.data.generate.job("job-1").data()
            assert await anext(items) == "one"
            server.overrides = {f"GET {INPUTS}/job-1": [away] * 12}
            assert [text async for text in items] == ["two"]
            assert server.overrides == {f"GET {INPUTS}/job-1": []}


async def test_streams_take_no_slot_of_the_limit() -> None:
    """Ten of them open, one slot: a score still gets through. So do ten streams at a time."""
    score = http(200, {"question_scores": {"q": 1}, "total_score": 1})
    overrides = {"POST /scoring_system/score": [score] * 3}
    with job_server(rows=["one"], state="RUNNING", overrides=overrides) as server:
        async with client_of(server, max_concurrency=1) as client:
            streams = [client.data.generate.job("job-1").data() for _ in range(10)]
            assert [await asyncio.wait_for(anext(stream), 10) for stream in streams] == ["one"] * 10
            spec = [{"question": "q"}]
            scoring = client.scoring_system.score(llm_input="", llm_output="x", scoring_spec=spec)
            assert (await asyncio.wait_for(scoring, 10)).total_score == 1
            for stream in streams:
                await stream.aclose()


async def test_the_key_is_in_no_error_of_a_stream() -> None:
    """Tracebacks with local variables included."""
    import traceback

    shown = []
    key = "pi-secret-key-1234"
    for faults in ([http(401, {"detail": "who?"})], [http(200, "<html>", content_type="text/html")], [b""] * 9):
        with job_server(cuts=[120] * 9, overrides={f"GET {INPUTS}/job-1/data": list(faults)}) as server:
            async with client_of(server, api_key=key, retry=RetryPolicy(attempts=1)) as client:
                with pytest.raises((PiStatusError, PiResponseError, PiConnectionError)) as raised:
                    _ = [text async for text in client.data.generate.job("job-1").data()]
            trace = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
            shown += ["".join(trace.format()), repr(raised.value)]
    lines = [line for text in shown for line in text.splitlines()]
    assert [line for line in lines if key in line and "key =" not in line] == []


def test_the_sync_twin_is_the_same_in_plain_iterators() -> None:
    """Start, data, messages, result, cancel, list; signature and docstring follow."""
    with job_server(rows=["one", "two"], messages=["LAUNCHING", "DONE"]) as server:
        with PiClient(base_url=server.url, retry=QUICK) as client:
            job = client.data.generate.start_job(num_inputs_to_generate=2, seeds=["x"])
            assert (list(job.data()), list(job.data(start=1))) == (["one", "two"], ["two"])
            assert list(job.messages()) == ["LAUNCHING", "DONE"]
            assert job.result(timeout=5).data == ["one", "two"]
            assert client.data.generate.job(job.job_id).status().state is JobState.DONE
            assert client.data.generate.retrieve("job-1").job_id == "job-1"
            assert [status.job_id for status in client.data.generate.list()] == ["job-1"]
            assert (job.cancel(), repr(job)) == ("cancelled", "SyncJob('/data/generate', 'job-1')")
            with pytest.raises(PiUsageError, match="start is"):
                job.data(start=-1)
            waited = client.data.generate_input_response_pairs.start_job
            assert waited.__doc__ == GenerateInputResponsePairs.start_job.__doc__
            parameters = set(inspect.signature(GenerateInputResponsePairs.start_job).parameters)
            assert {"num_pairs_to_generate", "seeds", "idempotency_key"} < parameters


class TuneRequest(BaseModel):
    """Starts a job of a family that no typed resource knows."""

    steps: int = Field(ge=1)
    note: str | None = None


class TuneStatus(JobStatus):
    """Its status."""


TUNING = JobFamily("/data/tune", "tuning", TuneRequest, TuneStatus)


@pytest.fixture
def tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "FAMILIES", (*FAMILIES, TUNING))


@pytest.mark.usefixtures("tuning")
async def test_a_registry_entry_is_all_that_a_family_needs() -> None:
    """Both clients list it in the registry's order, start it by its request model, and read its status."""
    with job_server() as server:
        async with client_of(server) as client:
            sync = PiClient(client=client)
            kinds = ["pairs", "inputs", "calibration", "tuning"]
            assert list(client.job_resources) == list(sync.job_resources) == kinds
            job = await client.job_resources["tuning"].start_job(steps=5, note=None)
            assert isinstance(await job.status(), TuneStatus)
            again = await asyncio.to_thread(sync.job_resources["tuning"].start_job, steps=6, idempotency_key="k")
            assert again.job_id == "job-2"
            assert isinstance(await asyncio.to_thread(sync.job_resources["tuning"].job("job-1").result), TuneStatus)
    assert [asked.path for asked in server.asked[:3]] == ["/data/tune", "/data/tune/job-1", "/data/tune"]
    assert [json.loads(asked.body) for asked in server.asked if asked.body] == [{"steps": 5}, {"steps": 6}]


@pytest.mark.usefixtures("tuning")
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"steps": 0}, "steps: .*greater than or equal to 1"),
        ({}, "steps: Field required"),
        ({"steps": 1, "colour": "red"}, "colour: there is no such field; give some of steps, note"),
        ({"steps": 1, "idempotency_key": ""}, "idempotency_key"),
    ],
)
async def test_a_generic_start_names_the_field_at_fault(fields: dict[str, Any], says: str) -> None:
    """Before anything is sent; a family without items has no data stream."""
    with job_server() as server:
        async with client_of(server) as client:
            tunings = client.job_resources["tuning"]
            with pytest.raises(PiUsageError, match=says):
                await tunings.start_job(**fields)
            with pytest.raises(PiUsageError, match="no data stream"):
                tunings.job("job-1").data()
        assert server.asked == []


def test_typed_resources_are_those_of_the_registry() -> None:
    """`client.data` and `client.job_resources` are the same objects."""
    client = AsyncPiClient(base_url="http://127.0.0.1:9")
    assert client.job_resources["pairs"] is client.data.generate_input_response_pairs
    assert client.job_resources["inputs"] is client.data.generate
    sync = PiClient(client=client)
    assert sync.job_resources["pairs"] is sync.data.generate_input_response_pairs
    assert client.job_resources["calibration"] is client.scoring_system.calibrate
    assert sync.job_resources["calibration"] is sync.scoring_system.calibrate
