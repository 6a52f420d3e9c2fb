"""The page that an engine serves at `/`, in a real headless browser, against a real engine behind a port."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from browser import Browser, Tab, find_browser, running_browser
from page_engine import Served
from pydantic import SecretStr
from questions import CLEAR, POLITE

from pi_integrations.engine.jobs import JobSettings
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator

PAIRS = "/data/generate_input_response_pairs"
INPUTS = "/data/generate"
HOSTILE = "<img src=x onerror=\"document.title = 'owned'\"><script>document.title = 'owned'</script>"
WANTED = re.compile(r"exactly (\d+) (pairs|inputs) and nothing else")

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed; on Debian: apt install chromium"),
]


def hostile_items(prompt: str) -> str | None:
    """What the generator says when the description asks for markup, each unlike all others; else its own words."""
    if "MARKUP" not in prompt or not (wanted := WANTED.findall(prompt)):
        return None
    count, what = int(wanted[-1][0]), wanted[-1][1]
    inputs = [f"Grüße 😀 {HOSTILE} {' '.join(uuid.uuid4().hex[:8] for _ in range(15))}" for _ in range(count)]
    return json.dumps(inputs if what == "inputs" else [{"llm_input": each, "llm_output": HOSTILE} for each in inputs])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One with jobs; a process can have one."""
    generator = ScriptedGenerator(answers=hostile_items, latency=0.04, record=False)
    served = Served(jobs=JobSettings(data_dir=tmp_path_factory.mktemp("jobs")), generator=generator)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def locked() -> Iterator[Served]:
    """One with a key, and without jobs."""
    served = Served(api_keys=(SecretStr("right"),))
    yield served
    served.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Started once."""
    path = find_browser()
    assert path is not None
    async with running_browser(path, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser: Browser) -> AsyncIterator[Tab]:
    """A fresh one. After every test, it must have asked one server alone, and complained of nothing."""
    async with browser.tab() as tab:
        yield tab
        hosts = {httpx.URL(url).host for url in tab.requested if not url.startswith(("data:", "about:", "blob:"))}
        assert hosts <= {"127.0.0.1"}
        assert tab.complaints == []


def read_soon(file: Path) -> str:
    """What a file holds as soon as it is there."""
    while not file.exists():
        time.sleep(0.02)
    return file.read_text(encoding="utf-8")


def numbers() -> str:
    """A script: the numbers of the rows on show."""
    return "[...document.querySelectorAll('#job-rows .index button')].map(b => Number(b.textContent.replace(',', '')))"


def shown() -> str:
    """A script: the inputs of the rows on show."""
    return "[...document.querySelectorAll('#job-rows td:nth-child(2) .text')].map(cell => cell.textContent)"


async def open_job(tab: Tab, engine: Served, path: str, job_id: str) -> None:
    await tab.goto(f"{engine.url}/#/jobs{path}/{job_id}")
    await tab.until("document.querySelector('#job-state').textContent")


async def test_a_job_started_by_the_form_shows_its_rows_as_they_come(tab: Tab, engine: Served) -> None:
    """Some while it runs, all at the end, with the bar full and the messages beside them."""
    await tab.goto(engine.url)
    await tab.until("!document.querySelector('#start').hidden")
    await tab.fill("#start-description", "Support desk of a shop")
    await tab.fill("#start-seeds", '{"llm_input": "Where is my order?", "llm_output": "It left today."}')
    await tab.fill("#start-number", "60")
    await tab.click("#start-button")
    await tab.until("document.querySelector('#job-state').textContent === 'RUNNING'")
    some = await tab.until(f"{numbers()}.length")
    assert await tab.run("document.querySelector('#job-state').textContent") == "RUNNING" and some < 60
    await tab.until("document.querySelector('#job-state').textContent === 'DONE'")
    assert await tab.until(f"{numbers()}.length === 60 && {numbers()}") == list(range(1, 61))
    job_id = (await tab.run("location.hash")).rpartition("/")[2]
    first = (await engine.status(PAIRS, job_id))["data"][0]
    assert [first["llm_input"], first["llm_output"]] == await tab.run(
        "[...document.querySelectorAll('#job-rows tr:first-child .text')].map(cell => cell.textContent)"
    )
    assert await tab.text("#job-count") == "60 of 60"
    assert (await tab.text("#job-messages")).split("\n")[0] == "LAUNCHING"
    await tab.until("document.querySelector('#job-messages li:last-child').textContent === 'DONE'")
    await tab.run("location.hash = '#/jobs'")
    await tab.until(f"document.querySelector('#jobs-rows tr a').href.endsWith('{job_id}')")
    listed = await tab.text("#jobs-rows tr")
    assert all(re.search(told, listed) for told in ("Pairs", "DONE", "60 of 60", r"Made 60 of 60", r"\d+ s$")), listed


async def test_a_job_is_cancelled_after_asking(tab: Tab, engine: Served) -> None:
    """Escape leaves it alone; what it made stays on show."""
    job_id = await engine.job(PAIRS, num_pairs_to_generate=3000)
    await open_job(tab, engine, PAIRS, job_id)
    await tab.until(f"{numbers()}.length")
    await tab.click("#job-cancel")
    await tab.press("Escape")
    assert not await tab.run("document.querySelector('#cancel-dialog').open")
    assert (await engine.status(PAIRS, job_id))["state"] == "RUNNING"
    await tab.click("#job-cancel")
    await tab.click("#cancel-yes")
    await tab.until("document.querySelector('#job-state').textContent === 'CANCELLED'")
    kept = len((await engine.status(PAIRS, job_id))["data"])
    await tab.until(f"{numbers()}.length === {kept}")
    assert await tab.run("document.querySelector('#job-cancel').hidden")


async def test_what_the_api_refuses_is_said_at_its_field(tab: Tab, engine: Served) -> None:
    """A seed by its line in the box, empty lines counted; the first faulty field has the focus."""
    await tab.goto(engine.url)
    await tab.until("!document.querySelector('#start').hidden")
    await tab.fill("#start-seeds", '{"llm_input": "a", "llm_output": "b"}\n\n{"llm_input": "a"}')
    await tab.fill("#start-number", "0")
    await tab.click("#start-button")
    await tab.until("document.querySelector('#start-number-problem')")
    assert "Line 3, llm_output: Field required" in await tab.text("#start-seeds-problem")
    assert "greater than or equal to 1" in await tab.text("#start-number-problem")
    assert await tab.run("document.activeElement.id") == "start-seeds"
    described = await tab.run("document.querySelector('#start-seeds').getAttribute('aria-describedby')")
    assert described.split()[0] == "start-seeds-problem"
    await tab.fill("#start-seeds", "no JSON")
    await tab.click("#start-button")
    await tab.until("!document.querySelector('#start-number-problem')")
    assert "Line 1 is not valid JSON" in await tab.text("#start-seeds-problem")


async def test_a_calibration_is_started_by_its_own_form(tab: Tab, engine: Served) -> None:
    """Spec, labels and preferences are in the form itself; the job's view has messages and no rows."""
    await tab.goto(engine.url)
    await tab.until("!document.querySelector('#start').hidden")
    await tab.click("#start-kind input[value='scoring_system/calibrate']")
    shown = "[...document.querySelectorAll('#start-fields textarea')].map(each => each.id)"
    assert sorted(await tab.run(shown)) == ["start-examples", "start-preferences", "start-spec"]
    await tab.fill("#start-spec", '[{"question": "Is it polite?"}]')
    await tab.fill("#start-examples", '{"llm_input": "a", "llm_output": "b", "score": 2}')
    await tab.click("#start-button")
    problem = await tab.until("document.querySelector('#start-examples-problem')?.textContent")
    assert "less than or equal to 1" in problem
    await tab.fill("#start-examples", '{"llm_input": "a", "llm_output": "b", "score": 1}')
    await tab.click("#start-button")
    await tab.until("document.querySelector('#job-state').textContent === 'DONE'")
    assert await tab.text("#job-title") == "Calibration job"
    assert await tab.run("document.querySelector('#job-data').hidden")
    await tab.until("document.querySelector('#job').textContent.includes('too few to calibrate')")


async def test_markup_in_rows_is_shown_and_never_becomes_part_of_the_page(tab: Tab, engine: Served) -> None:
    """Whatever a model writes is text."""
    job_id = await engine.job(PAIRS, num_pairs_to_generate=5, application_description="MARKUP", batch_size=5)
    await open_job(tab, engine, PAIRS, job_id)
    await tab.until("document.querySelector('#job-state').textContent === 'DONE'")
    await tab.until(f"{numbers()}.length === 5")
    assert (await tab.text("#job-rows")).count("<img src=x onerror=") == 10
    assert await tab.run("document.querySelectorAll('#job img, #job script').length") == 0
    assert "owned" not in await tab.run("document.title")


async def test_long_jobs_keep_few_rows_in_the_page_and_count_them_all(tab: Tab, engine: Served) -> None:
    """The last 500; the download has every one."""
    job_id = await engine.job(INPUTS, num_inputs_to_generate=520, batch_size=125, application_description="MARKUP")
    await open_job(tab, engine, INPUTS, job_id)
    await tab.until("document.querySelector('#job-state').textContent === 'DONE'", seconds=20)
    await tab.until("document.querySelector('#job-data-count').textContent === 'the last 500 of 520'")
    assert await tab.run(numbers()) == list(range(21, 521))
    at_end = (
        "(box => box.scrollHeight - box.scrollTop - box.clientHeight < 2)(document.querySelector('#job-data-scroll'))"
    )
    assert await tab.until(at_end)


async def test_the_download_has_every_row_as_a_line_of_json(tab: Tab, engine: Served, tmp_path: Path) -> None:
    """Pairs as the API gives them, inputs as objects."""
    job_id = await engine.job(INPUTS, num_inputs_to_generate=7)
    await open_job(tab, engine, INPUTS, job_id)
    await tab.until("document.querySelector('#job-state').textContent === 'DONE'")
    await tab.download_to(tmp_path)
    await tab.click("#job-download")
    file = tmp_path / f"inputs-{job_id}.jsonl"
    await tab.until("!document.querySelector('#job-download').disabled")
    text = await asyncio.to_thread(read_soon, file)
    rows = [json.loads(line)["llm_input"] for line in text.splitlines()]
    assert rows == (await engine.status(INPUTS, job_id))["data"]


async def test_streams_that_are_cut_anywhere_lose_nothing_and_double_nothing(tab: Tab, engine: Served) -> None:
    """In the midst of a line, of a character even; and when a service begins anew instead of going on."""
    job_id = await engine.job(PAIRS, num_pairs_to_generate=12, application_description="MARKUP")
    await engine.ended(PAIRS, job_id)
    engine.faults.extend(["cut", "cut", "anew"])
    await open_job(tab, engine, PAIRS, job_id)
    await tab.until(f"{numbers()}.length >= 12")
    await tab.until("document.querySelector('#job-state').textContent === 'DONE'")
    assert engine.faults == []
    assert any(re.search(r"data\?start=[1-9]", url) for url in tab.requested)
    assert await tab.run(shown()) == [row["llm_input"] for row in (await engine.status(PAIRS, job_id))["data"]]


async def test_a_hidden_tab_rests_and_catches_up_when_it_is_seen(tab: Tab, engine: Served) -> None:
    """Browsers allow six connections to a server, and a job's view holds two."""
    job_id = await engine.job(PAIRS, num_pairs_to_generate=30)
    await open_job(tab, engine, PAIRS, job_id)
    await tab.until(f"{numbers()}.length")
    await tab.run("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    await tab.run("document.dispatchEvent(new Event('visibilitychange'))")
    await asyncio.sleep(0.2)
    before = await tab.run(f"{numbers()}.length")
    await engine.ended(PAIRS, job_id)
    await asyncio.sleep(0.2)
    assert await tab.run(f"{numbers()}.length") == before < 30
    await tab.run("delete document.hidden && document.dispatchEvent(new Event('visibilitychange'))")
    assert await tab.until(f"{numbers()}.length >= 30 && {numbers()}") == list(range(1, 31))


async def test_jobs_that_are_opened_one_after_the_other_never_mix(tab: Tab, engine: Served) -> None:
    """On a slow computer: what was still to be drawn of the first is dropped."""
    one, other = [await engine.job(INPUTS, num_inputs_to_generate=count) for count in (6, 9)]
    await asyncio.gather(engine.ended(INPUTS, one), engine.ended(INPUTS, other))
    slow = "const real = setTimeout; window.setTimeout = (work, wait) => real(work, wait < 100 ? 600 : wait)"
    await tab.send("Page.addScriptToEvaluateOnNewDocument", source=slow)
    await open_job(tab, engine, INPUTS, one)
    await asyncio.sleep(0.3)
    await tab.run(f"location.hash = '#/jobs{INPUTS}/{other}'")
    await tab.until("document.querySelector('#job-messages li:last-child')?.textContent === 'DONE'")
    await tab.until(f"{numbers()}.length >= 9")
    assert await tab.run(shown()) == (await engine.status(INPUTS, other))["data"]


async def test_a_start_whose_answer_got_lost_makes_one_job_when_tried_again(tab: Tab, engine: Served) -> None:
    """The same form is sent with the same idempotency key."""
    before = await engine.jobs(INPUTS)
    await tab.goto(engine.url)
    await tab.until("!document.querySelector('#start').hidden")
    await tab.click(f"#start-kind input[value='{INPUTS[1:]}']")
    await tab.fill("#start-number", "3")
    engine.faults.append("lost")
    await tab.click("#start-button")
    assert "engine answered 500" in await tab.until("document.querySelector('#start-problem').textContent")
    await tab.click("#start-button")
    await tab.until("document.querySelector('#job-state').textContent === 'DONE'")
    assert await engine.jobs(INPUTS) == before + 1


async def test_a_job_that_is_not_there_is_said_to_be_missing(tab: Tab, engine: Served) -> None:
    """Somebody else's looks the same."""
    await tab.goto(f"{engine.url}/#/jobs{PAIRS}/unknown")
    await tab.until("!document.querySelector('#job-missing').hidden")
    assert "no such job" in await tab.text("#job-missing")


async def test_nothing_is_lost_or_doubled_when_the_engine_comes_back(tab: Tab, engine: Served) -> None:
    """The page says that it is away, and goes on by itself where it was."""
    job_id = await engine.job(PAIRS, num_pairs_to_generate=40)
    await open_job(tab, engine, PAIRS, job_id)
    await tab.until(f"{numbers()}.length > 5")
    engine.stop()
    await tab.until("!document.querySelector('#gone').hidden")
    assert "does not answer" in await tab.text("#gone")
    engine.start()
    await tab.until("document.querySelector('#gone').hidden")
    await tab.until("document.querySelector('#job-state').textContent === 'DONE'", seconds=20)
    assert await tab.until(f"{numbers()}.length >= 40 && {numbers()}") == list(range(1, 41))
    assert await tab.run(shown()) == [row["llm_input"] for row in (await engine.status(PAIRS, job_id))["data"]]


async def score(tab: Tab, engine: Served, spec: Any) -> None:
    await tab.goto(f"{engine.url}/#/playground")
    await tab.until("document.querySelector('#score-spec').value")
    await tab.fill("#score-spec", spec if isinstance(spec, str) else json.dumps(spec))
    await tab.press("Enter", modifiers=2)


async def test_scores_have_their_number_their_reading_and_the_total(tab: Tab, engine: Served) -> None:
    """sqrt(.9 × .4) = .6 by the geometric mean; the arithmetic one gives .65."""
    await score(tab, engine, [{"question": POLITE, "label": "Polite"}, {"question": CLEAR}])
    await tab.until("document.querySelector('.total-score')")
    assert await tab.text(".total-score .value") == "0.60"
    shown = await tab.text(".scores")
    assert [text in shown for text in ("Polite", POLITE, "0.90", CLEAR, "0.40", "scripted")] == [True] * 6
    widths = "[...document.querySelectorAll('.scores .bar i')].map(bar => bar.style.width)"
    assert await tab.run(widths) == ["90%", "40%"]
    await tab.run("document.querySelector('#score-method').value = 'ARITHMETIC_MEAN'")
    await tab.click("#score-button")
    await tab.until("document.querySelector('.total-score .value').textContent === '0.65'")
    assert "scripted/default" in await tab.text(".scores-foot")


async def test_an_unscored_question_says_why(tab: Tab, engine: Served) -> None:
    """And has no number."""
    await score(tab, engine, [{"question": POLITE}, {"question": "Is it blue?"}])
    await tab.until("document.querySelector('.total-score')")
    last = await tab.text(".scores tr:last-child")
    assert "unscored" in last and "the script has no answer" in last


async def test_dimensions_have_their_totals(tab: Tab, engine: Served) -> None:
    """Each above its questions; (.9 + .4) / 2 = .65."""
    questions = [{"label": "p", "description": POLITE}, {"label": "c", "description": CLEAR}]
    dimension = {"label": "Tone", "description": "d", "sub_dimensions": questions}
    await score(tab, engine, {"name": "n", "description": "d", "dimensions": [dimension]})
    await tab.until("document.querySelector('.total-score')")
    values = "[...document.querySelectorAll('.scores .value')].map(value => value.textContent)"
    assert await tab.run(values) == ["0.65", "0.90", "0.40"]


async def test_a_faulty_spec_is_told_at_the_spec(tab: Tab, engine: Served) -> None:
    """By the engine when it is JSON, by the page when it is not."""
    await score(tab, engine, [{"question": POLITE, "weight": -1}])
    await tab.until("document.querySelector('#score-spec-problem')")
    assert (await tab.text("#score-spec-problem")).startswith("[0].weight: Input should be greater")
    await score(tab, engine, "[{]")
    assert "not valid JSON" in await tab.until("document.querySelector('#score-spec-problem').textContent")


async def test_markup_in_labels_is_text(tab: Tab, engine: Served) -> None:
    """A spec may come from anybody."""
    await score(tab, engine, [{"question": CLEAR, "label": HOSTILE}, {"question": POLITE, "label": HOSTILE + "2"}])
    await tab.until("document.querySelector('.total-score')")
    assert (await tab.text(".scores")).count("<img src=x") == 2
    assert await tab.run("document.querySelectorAll('#scores img, #scores script').length") == 0
    assert "owned" not in await tab.run("document.title")


async def test_the_page_asks_for_a_key_and_keeps_it_in_the_tab_alone(tab: Tab, locked: Served) -> None:
    """A wrong one is refused; the right one opens, until it is forgotten."""
    await tab.goto(locked.url)
    await tab.until("!document.querySelector('#key-form').hidden")
    await tab.fill("#key", "wrong")
    await tab.press("Enter")
    await tab.until("document.querySelector('#key-note').textContent.includes('does not know this key')")
    assert await tab.run("sessionStorage.length") == 0
    await tab.fill("#key", "right")
    await tab.press("Enter")
    await tab.until("document.querySelector('#jobs-empty').textContent.startsWith('This engine runs no jobs')")
    assert await tab.run("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
    await tab.click("#forget-key")
    await tab.until("!document.querySelector('#key-form').hidden")
    assert await tab.run("sessionStorage.length") == 0


@pytest.mark.parametrize("view", ["#/jobs", "#/playground"])
async def test_a_narrow_screen_scrolls_one_way(tab: Tab, engine: Served, view: str) -> None:
    """At 360 pixels, in the dark."""
    narrow = {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": False}
    await tab.send("Emulation.setDeviceMetricsOverride", **narrow)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    await tab.send("Emulation.setEmulatedMedia", features=dark)
    await engine.job(PAIRS, num_pairs_to_generate=1)
    await tab.goto(engine.url + view)
    await tab.until("document.querySelector('#jobs-rows tr, #playground:not([hidden])')")
    assert await tab.run("document.documentElement.scrollWidth") <= 360
    assert await tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 23)"


@pytest.mark.parametrize("view", ["#/jobs", "#/playground"])
async def test_every_control_has_a_name(tab: Tab, engine: Served, view: str) -> None:
    """As the browser tells it to a screen reader."""
    await engine.job(PAIRS, num_pairs_to_generate=1)
    await tab.goto(engine.url + view)
    await tab.until("document.querySelector('#jobs-rows tr, #playground:not([hidden])')")
    await tab.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    nodes = (await tab.send("Accessibility.getFullAXTree"))["nodes"]
    controls = [node for node in nodes if node.get("role", {}).get("value") in CONTROLS]
    assert len(controls) > 5
    assert [node for node in controls if not node.get("name", {}).get("value")] == []


async def test_the_first_tab_stop_leads_past_the_navigation(tab: Tab, engine: Served) -> None:
    """And a change of view takes the focus with it."""
    await tab.goto(engine.url)
    await tab.until("!document.querySelector('#start').hidden")
    await tab.press("Tab")
    assert await tab.run("document.activeElement.id") == "skip"
    await tab.press("Enter")
    assert await tab.run("document.activeElement.id") == "content"
    await tab.click("#to-playground")
    await tab.until("document.activeElement.id === 'playground-title'")
    assert await tab.run("document.title") == "Scoring playground · Pi engine"
    assert await tab.run("document.querySelector('[aria-current=page]').id") == "to-playground"


CONTROLS = {"button", "link", "textbox", "combobox", "spinbutton", "checkbox", "radio", "searchbox"}
