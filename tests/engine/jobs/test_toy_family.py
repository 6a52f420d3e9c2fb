"""A new family of jobs: a registry entry and a builder, and every part of the package serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import find_browser, running_browser
from engine.page_engine import Served
from pydantic import BaseModel, ConfigDict, Field

from pi_integrations import AsyncPiClient, PiStatusError
from pi_integrations.client.calls import Calls
from pi_integrations.client.jobs import JobResource
from pi_integrations.engine import families as builders
from pi_integrations.engine.app import create_app
from pi_integrations.engine.jobs import FamilyWork, JobSettings, Run
from pi_integrations.engine.scoring.service import ScoreService
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.models import JobState, JobStatus, families
from pi_integrations.models.families import CALIBRATE, JobFamily
from pi_integrations.testing import ScriptedJudge


class Style(StrEnum):
    PLAIN = "PLAIN"
    LOUD = "LOUD"


class ToyRequest(BaseModel):
    """The body of `POST /toys/rhymes`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    words: list[str]
    """Words to rhyme."""
    style: Style = Style.PLAIN
    """How they are written."""
    pause: float = Field(default=0.0, ge=0, le=10)
    """Seconds before each."""
    options: dict[str, Any] | None = None
    """Anything else."""
    rhyme_twice: bool = False
    """Whether each comes twice."""


class Rhyme(BaseModel):
    """A word and its rhyme."""

    word: str
    rhyme: str
    note: str | None = None


class ToyStatus(JobStatus):
    """The status of a toy job."""

    data: list[Rhyme] | None = None
    rhymes: int | None = None


TOY = JobFamily("/toys/rhymes", "rhymes", ToyRequest, ToyStatus, Rhyme)


async def rhyme(request: ToyRequest, run: Run) -> Mapping[str, Any]:
    words = [word for word in request.words for _ in range(1 + request.rhyme_twice)]
    for number in range((run.progress or {"next": 0})["next"], len(words)):
        await asyncio.sleep(request.pause)
        word = words[number] if request.style is Style.PLAIN else words[number].upper()
        row = {"word": word, "rhyme": f"b{word[1:]}"}
        await run.commit(rows=[row], messages=[f"rhymed {word}"], progress={"next": number + 1})
    return {"rhymes": len(words)}


def build_toy(settings: EngineSettings, service: ScoreService) -> FamilyWork[ToyRequest]:
    return FamilyWork(TOY, rhyme)


class Rhymes(JobResource[ToyRequest, ToyStatus, Rhyme]):
    """`client.toys.rhymes`, as a resource of the client would have it."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls, TOY)


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The registry and the builders, with the toy in them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(families, "FAMILIES", (*families.FAMILIES, TOY))
        patched.setitem(builders.BUILDERS, TOY.path, build_toy)
        yield


@pytest.fixture(scope="module")
def engine(registered: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An engine without a generator behind a port."""
    served = Served(jobs=JobSettings(data_dir=tmp_path_factory.mktemp("jobs")))
    yield served
    served.stop()


async def test_client_starts_follows_lists_and_reads_it(engine: Served) -> None:
    """Status, messages, items and result come typed, through the generic resource."""
    async with AsyncPiClient(base_url=engine.url) as client:
        rhymes = Rhymes(client.scoring_system._calls)
        job = await rhymes.start_job(words=["cat", "hat"], style="LOUD")
        items = [item async for item in job.data()]
        assert items == [Rhyme(word="CAT", rhyme="bAT"), Rhyme(word="HAT", rhyme="bAT")]
        assert [line async for line in job.messages()][2:] == ["rhymed CAT", "rhymed HAT", "DONE"]
        result = await job.result()
        assert (result.data, result.rhymes) == (items, 2)
        assert [status.job_id for status in await rhymes.list("DONE")] == [job.job_id]
        assert (await rhymes.retrieve(job.job_id)).state is JobState.DONE


async def test_client_cancels_it(engine: Served) -> None:
    async with AsyncPiClient(base_url=engine.url) as client:
        rhymes = Rhymes(client.scoring_system._calls)
        job = await rhymes.start_job(words=["cat"] * 100, pause=0.5)
        assert "cancelled" in await rhymes.cancel(job.job_id)
        assert (await job.status()).state is JobState.CANCELLED


async def test_idempotency_key_starts_one_job_and_refuses_another_body(engine: Served) -> None:
    async with AsyncPiClient(base_url=engine.url) as client:
        rhymes = Rhymes(client.scoring_system._calls)
        one, again = [await rhymes.start_job(words=["mat"], idempotency_key="toy") for _ in range(2)]
        assert one.job_id == again.job_id
        with pytest.raises(PiStatusError) as refused:
            await rhymes.start_job(words=["rat"], idempotency_key="toy")
    assert refused.value.status == 409


async def test_invalid_body_is_refused_with_the_field_named(engine: Served) -> None:
    async with httpx.AsyncClient(base_url=engine.url) as http:
        wrong = await http.post(TOY.path, json={"words": ["cat"], "pause": 11})
        unknown = await http.post(f"/v1{TOY.path}", json={"words": ["cat"], "rythm": 1})
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["body", "pause"])
    assert (unknown.status_code, unknown.json()["detail"][0]["loc"]) == (422, ["body", "rythm"])


async def test_openapi_document_and_page_describe_it(engine: Served) -> None:
    async with httpx.AsyncClient(base_url=engine.url) as http:
        document = (await http.get("/openapi.json")).json()
        described = (await http.get("/page/families.json")).json()[-1]
    body = document["paths"][TOY.path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ToyRequest"}
    assert document["components"]["schemas"]["ToyRequest"]["required"] == ["words"]
    assert (described["path"], described["kind"], described["items"]) == (TOY.path, "rhymes", "json")
    assert described["columns"] == ["word", "rhyme"]
    assert [(field["name"], field["type"], field["required"]) for field in described["fields"]] == [
        ("words", "array", True),
        ("style", "string", False),
        ("pause", "number", False),
        ("options", "object", False),
        ("rhyme_twice", "boolean", False),
    ]


async def test_engine_without_jobs_answers_501() -> None:
    app = create_app(EngineSettings(judge=ScriptedJudge(default=0.5)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        for path in (TOY.path, f"{TOY.path}/some-job/data"):
            answer = await http.get(path)
            assert (answer.status_code, answer.headers["x-should-retry"]) == (501, "false")


async def test_worker_without_a_generator_can_work_on_it(tmp_path: Path) -> None:
    """And on calibration; it knows what the other families lack."""
    settings = EngineSettings(judge=ScriptedJudge(default=0.5), jobs=JobSettings(data_dir=tmp_path))
    works = create_app(settings).state.works
    assert [work.path for work in works if work.missing is None] == [CALIBRATE.path, TOY.path]
    assert all("no generator" in work.missing for work in works if work.path not in (CALIBRATE.path, TOY.path))


def test_every_registered_family_has_a_builder() -> None:
    assert set(builders.BUILDERS) == {family.path for family in families.FAMILIES}


@pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed; on Debian: apt install chromium")
async def test_page_starts_it_with_a_control_for_each_field(engine: Served, tmp_path: Path) -> None:
    """A list one a line, a choice, a number, JSON and a checkbox; what the engine refuses is shown at its field."""
    path = find_browser()
    assert path is not None
    async with running_browser(path, tmp_path) as browser, browser.tab() as tab:
        await tab.goto(engine.url)
        await tab.until("!document.querySelector('#start').hidden")
        await tab.click(f"#start-kind input[value='{TOY.path[1:]}']")
        await tab.fill("#start-words", "cat\nhat")
        await tab.run("document.querySelector('#start-more').open = true")
        kinds = "['style', 'pause', 'options', 'rhyme_twice'].map(id => document.querySelector('#start-' + id).type)"
        assert await tab.run(kinds) == ["select-one", "number", "textarea", "checkbox"]
        assert await tab.text("#start-words-hint") == "Words to rhyme. One a line."
        await tab.fill("#start-options", "{no JSON")
        await tab.click("#start-button")
        assert "not valid JSON" in await tab.text("#start-options-problem")
        await tab.fill("#start-options", '{"any": "thing"}')
        await tab.fill("#start-pause", "11")
        await tab.click("#start-button")
        assert "less than or equal to 10" in await tab.until(
            "document.querySelector('#start-pause-problem')?.textContent"
        )
        await tab.fill("#start-pause", "0")
        await tab.run("document.querySelector('#start-style').value = 'LOUD'")
        await tab.click("#start-rhyme_twice")
        await tab.click("#start-button")
        await tab.until("document.querySelector('#job-state').textContent === 'DONE'")
        assert await tab.text("#job-title") == "Rhymes job"
        await tab.until("document.querySelectorAll('#job-rows tr').length === 4")
        assert (await tab.text("#job-head")).split() == ["#", "Word", "Rhyme"]
        cells = "[...document.querySelectorAll('#job-rows tr:last-child .text')].map(cell => cell.textContent)"
        assert await tab.run(cells) == ["HAT", "bAT"]
        assert tab.complaints == []
