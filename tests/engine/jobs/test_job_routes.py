"""The job routes, in process: what each answers, for good and for bad input."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tiny_jobs import COUNT, ELSEWHERE, ODD_TEXTS, TEXTS, Tiny, begun, ended, eventually, running, settings_at, start

from pi_integrations.engine.jobs.engine import JobEngine
from pi_integrations.models.jobs import decode_text

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Served:
    """An engine shared by this module."""

    client: httpx.AsyncClient
    engine: JobEngine
    tiny: Tiny


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    tiny = Tiny()
    async with running(tiny, settings_at(Path(tmp_path_factory.mktemp("jobs")))) as (client, engine):
        yield Served(client, engine, tiny)


async def test_new_job_is_queued_and_launching(served: Served) -> None:
    response = await served.client.post(COUNT, json={})
    status = response.json()
    assert (status["state"], status["detailed_status"], status["data"]) == ("QUEUED", ["LAUNCHING"], [])


async def test_done_job_has_its_rows_in_order_its_messages_and_its_result(served: Served) -> None:
    status = await ended(served.client, await start(served.client, batches=3))
    assert status["state"] == "DONE"
    assert status["data"] == [{"n": number} for number in range(15)]
    assert status["detailed_status"] == ["LAUNCHING", "RUNNING", "batch 0", "batch 1", "batch 2", "DONE"]
    assert (status["total"], status["figures"]) == (15, {"batches": 3})


async def test_state_filter_lists_those_jobs_alone_newest_first_and_without_data(served: Served) -> None:
    jobs = [await start(served.client, batches=1) for _ in range(3)]
    for job in jobs:
        await ended(served.client, job)
    listed = (await served.client.get(COUNT, params={"state": "DONE"})).json()
    assert [job["job_id"] for job in listed][:3] == jobs[::-1]
    assert {job["state"] for job in listed} == {"DONE"}
    assert all(job["data"] is None and job["detailed_status"][-1] == "DONE" for job in listed)
    assert (await served.client.get(COUNT, params={"state": "ERROR"})).json() == []


async def test_listed_job_shows_its_first_message_and_its_last_hundred_at_most(served: Served) -> None:
    job = await start(served.client, batches=200)
    whole = (await ended(served.client, job))["detailed_status"]
    (listed,) = [each for each in (await served.client.get(COUNT)).json() if each["job_id"] == job]
    assert len(whole) == 203
    assert listed["detailed_status"] == [whole[0], *whole[-99:]]


@pytest.mark.parametrize("state", ["DOING", "done", "\0"])
async def test_unknown_state_is_refused_by_name(served: Served, state: str) -> None:
    response = await served.client.get(COUNT, params={"state": state})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "state"]
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("first", ["-1", "x", "1.5", "٣", "9" * 30])
async def test_unreadable_start_of_a_stream_is_refused_by_name(served: Served, first: str) -> None:
    job = await start(served.client, batches=0)
    response = await served.client.get(f"{COUNT}/{job}/data", params={"start": first})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "start"]


@pytest.mark.parametrize(
    ("body", "location"),
    [
        (b'{"batches": 10000000}', ["body", "batches"]),
        (b'{"batches": "many"}', ["body", "batches"]),
        (b'{"batchez": 1}', ["body", "batchez"]),
        (b'{"padding": "\\ud83d"}', ["body"]),
        (b"{", ["body"]),
        (b"", ["body"]),
        (b"[" * 100_000, ["body"]),
    ],
)
async def test_bad_body_is_refused_naming_the_field(served: Served, body: bytes, location: list[str]) -> None:
    headers = {"content-type": "application/json"}
    response = await served.client.post(COUNT, content=body, headers=headers)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == location


@pytest.mark.parametrize("end", ["", "/messages", "/data"])
@pytest.mark.parametrize("job_id", ["0" * 32, "nonsense", "%00", "a%00b", "%ff%fe", "x" * 5000])
async def test_unknown_job_is_404(served: Served, job_id: str, end: str) -> None:
    assert (await served.client.get(f"{COUNT}/{job_id}{end}")).status_code == 404


async def test_job_of_another_family_is_404_and_is_not_cancelled(served: Served) -> None:
    job = await start(served.client, batches=1)
    assert (await served.client.get(f"{TEXTS}/{job}")).status_code == 404
    assert (await served.client.delete(f"{TEXTS}/{job}")).status_code == 404
    assert (await ended(served.client, job))["state"] == "DONE"


async def test_streams_replay_and_follow_to_the_end_for_every_reader(served: Served) -> None:
    job = await start(served.client, batches=20, latency=0.01)
    messages, data, late = await asyncio.gather(
        served.client.get(f"{COUNT}/{job}/messages"),
        served.client.get(f"{COUNT}/{job}/data"),
        served.client.get(f"{COUNT}/{job}/data", params={"start": "97"}),
    )
    assert messages.headers["content-type"].startswith("text/plain")
    assert messages.text.split("\n")[0] == "LAUNCHING" and messages.text.endswith("batch 19\nDONE\n")
    assert [json.loads(line)["n"] for line in data.text.splitlines()] == list(range(100))
    assert late.text == '{"n":97}\n{"n":98}\n{"n":99}\n'
    assert late.headers["x-pi-stream-start"] == "97"


async def test_stream_that_starts_past_the_end_is_empty_once_the_job_ended(served: Served) -> None:
    job = await start(served.client, batches=1)
    response = await served.client.get(f"{COUNT}/{job}/data", params={"start": "999999999"})
    assert (response.status_code, response.text) == (200, "")


async def test_odd_texts_are_one_line_each_and_come_back(served: Served) -> None:
    job = await start(served.client, TEXTS)
    lines = (await served.client.get(f"{TEXTS}/{job}/data")).text.split("\n")[:-1]
    status = await ended(served.client, job, TEXTS)
    sendable = [text.replace("\ud83d", "?") for text in ODD_TEXTS]
    assert [decode_text(line) for line in lines] == sendable
    assert status["data"] == sendable
    assert status["detailed_status"] == ["LAUNCHING", "RUNNING", "a message\ufffd ?", "", "DONE"]


async def test_request_keeps_its_nulls_and_its_odd_texts(served: Served) -> None:
    """`padding` has another default than None, and so a null must not be lost on the way to the work."""
    for padding in (None, "nul\0 and 😀"):
        status = await ended(served.client, await start(served.client, TEXTS, padding=padding), TEXTS)
        assert status["echo"] == padding


async def test_same_idempotency_key_and_body_start_one_job_however_many_ask_at_once(served: Served) -> None:
    headers = {"idempotency-key": "once"}
    posts = [served.client.post(COUNT, json={"batches": 1}, headers=headers) for _ in range(20)]
    assert len({response.json()["job_id"] for response in await asyncio.gather(*posts)}) == 1
    # The same request, though its bytes are others.
    spelt = b'{ "latency": 0.0, "batches": 1 }'
    again = await served.client.post(COUNT, content=spelt, headers={**headers, "content-type": "application/json"})
    assert again.status_code == 200


async def test_same_idempotency_key_with_another_body_is_a_conflict(served: Served) -> None:
    headers = {"idempotency-key": "twice"}
    await served.client.post(COUNT, json={"batches": 1}, headers=headers)
    response = await served.client.post(COUNT, json={"batches": 2}, headers=headers)
    assert response.status_code == 409
    assert response.headers["x-should-retry"] == "false"


async def test_idempotency_keys_are_of_a_route(served: Served) -> None:
    headers = {"idempotency-key": "routes"}
    one = await served.client.post(COUNT, json={}, headers=headers)
    other = await served.client.post(TEXTS, json={}, headers=headers)
    assert one.json()["job_id"] != other.json()["job_id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\tbed"])
async def test_unusable_idempotency_key_is_refused(served: Served, key: str) -> None:
    response = await served.client.post(COUNT, json={}, headers={"idempotency-key": key})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["header", "idempotency-key"]


async def test_cancelled_job_stops_within_a_second_and_keeps_what_it_made(served: Served) -> None:
    job = await start(served.client, batches=1000, latency=0.02)
    await begun(served.client, job)
    assert "cancelled" in (await served.client.delete(f"{COUNT}/{job}")).json()
    status = await ended(served.client, job)
    assert status["state"] == "CANCELLED"
    assert status["detailed_status"][-1] == "CANCELLED"
    assert status["data"] == [{"n": number} for number in range(len(status["data"]))] != []
    await asyncio.sleep(0.2)
    calls = sum(served.tiny.calls.values())
    await asyncio.sleep(0.3)
    assert sum(served.tiny.calls.values()) == calls
    assert (await served.client.get(f"{COUNT}/{job}")).json() == status


async def test_cancelled_job_does_not_wait_for_its_call(served: Served) -> None:
    job = await start(served.client, batches=1, latency=60)

    async def is_asking() -> bool:
        return served.tiny.calls[f"{job}/0"] == 1

    async def is_idle() -> bool:
        return served.tiny.at_work == 0

    await eventually(is_asking)
    await served.client.delete(f"{COUNT}/{job}")
    await asyncio.wait_for(eventually(is_idle), 3)


async def test_streams_of_a_cancelled_job_end(served: Served) -> None:
    job = await start(served.client, batches=1000, latency=0.02)
    stream = asyncio.create_task(served.client.get(f"{COUNT}/{job}/messages"))
    await begun(served.client, job)
    await served.client.delete(f"{COUNT}/{job}")
    assert (await asyncio.wait_for(stream, 5)).text.endswith("\nCANCELLED\n")


async def test_cancelling_an_ended_job_changes_nothing(served: Served) -> None:
    job = await start(served.client, batches=1)
    before = await ended(served.client, job)
    response = await served.client.delete(f"{COUNT}/{job}")
    assert response.status_code == 200 and isinstance(response.json(), str)
    assert (await served.client.get(f"{COUNT}/{job}")).json() == before


async def test_family_works_on_no_more_jobs_at_a_time_than_it_allows_and_cancelled_ones_never_begin(
    served: Served,
) -> None:
    served.tiny.most_at_work = 0
    jobs = [await start(served.client, batches=15, latency=0.02) for _ in range(6)]
    for job in jobs[:4]:
        await begun(served.client, job)
    assert [(await served.client.get(f"{COUNT}/{job}")).json()["state"] for job in jobs[4:]] == ["QUEUED"] * 2
    await served.client.delete(f"{COUNT}/{jobs[5]}")
    states = [(await ended(served.client, job))["state"] for job in jobs]
    assert states == ["DONE"] * 5 + ["CANCELLED"]
    assert served.tiny.most_at_work == 4
    assert served.tiny.calls[f"{jobs[5]}/0"] == 0


async def test_job_that_stops_tells_its_owner_why_and_keeps_what_it_made(served: Served) -> None:
    status = await ended(served.client, await start(served.client, end="stopped"))
    assert (status["state"], status["error"]) == ("ERROR", "the model is exhausted")
    assert status["detailed_status"][-2:] == ["the model is exhausted", "ERROR"]
    assert len(status["data"]) == 10


async def test_job_that_fails_says_so_without_what_the_exception_says(served: Served) -> None:
    status = await ended(served.client, await start(served.client, end="failed"))
    assert status["state"] == "ERROR"
    assert "ValueError" in status["error"] and "1234" not in json.dumps(status)


async def test_result_that_is_no_json_ends_the_job_in_error(served: Served) -> None:
    assert (await ended(served.client, await start(served.client, end="not_a_number")))["state"] == "ERROR"


async def test_family_that_no_worker_can_do_is_refused_with_the_remedy(served: Served) -> None:
    response = await served.client.post(ELSEWHERE, json={})
    assert response.status_code == 422
    assert "give one" in response.text
    assert (await served.client.get(ELSEWHERE)).json() == []


async def test_webhook_is_refused_where_no_host_is_allowed(served: Served) -> None:
    response = await served.client.post(COUNT, json={"webhook_url": "http://example.com/hook"})
    assert response.status_code == 422
    assert "--webhook-host" in response.text


async def test_reader_who_leaves_is_forgotten_at_once(served: Served) -> None:
    job = await start(served.client, batches=1000, latency=0.02)
    stream: Any = served.engine.follow(job, "data", 0)
    await anext(stream)
    assert served.engine.readers == 1
    await stream.aclose()
    assert served.engine.readers == 0
    await served.client.delete(f"{COUNT}/{job}")
