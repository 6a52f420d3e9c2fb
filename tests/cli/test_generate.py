"""`generate` and `jobs` as a person runs them: rows into files, interrupted jobs, and the list of jobs."""

from __future__ import annotations

import json
import re
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.processes import SCRIPTED, SLOW, address, running
from client.job_server import job_server
from pydantic import BaseModel
from typer.testing import CliRunner, Result

from pi_integrations import PiClient, PiError
from pi_integrations.cli.app import app
from pi_integrations.models import JobStatus, families
from pi_integrations.models.families import JobFamily

SEEDS = "question,answer\nDo you repair bikes?,On weekdays.\nWhere are you?,By the river.\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an engine whose generator takes its time and has a price."""
    folder = str(tmp_path_factory.mktemp("jobs"))
    options = ("--port", "0", "--data-dir", folder, "--generator", SLOW, "--generator-price", "1,4")
    with running("serve", *options) as serve:
        yield address(serve)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with seeds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seeds.csv").write_text(SEEDS)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_generated_pairs_are_appended_as_json_lines(
    service: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the job and their place in it; messages go to standard error, figures to standard output."""
    monkeypatch.setenv("PI_CLIENT_BASE_URL", service)
    (folder / "prompt.txt").write_text("You answer for a bicycle shop.")
    texts = ("--description", "A bicycle shop's desk", "--system-prompt", "@prompt.txt")
    columns = ("--column", "llm_input=question", "--column", "llm_output=answer")
    result = run("generate", "pairs", "--num", "6", "--seeds", "seeds.csv", *columns, *texts, "--parallel")
    assert result.exit_code == 0, result.output
    made = rows(folder / "pi-pairs.jsonl")
    assert [row["index"] for row in made] == list(range(6))
    assert len({row["llm_input"] for row in made}) == 6
    assert all(row["llm_output"] for row in made)
    assert "Made 6 of 6 pairs" in result.stderr
    assert "6 accepted" in result.stdout
    assert made[0]["job_id"] in result.stdout


def test_a_file_takes_the_rows_of_several_jobs(service: str, folder: Path) -> None:
    """Inputs alone, whose seeds need no responses."""
    (folder / "seeds.jsonl").write_text('{"llm_input": "Do you repair bikes?"}\n')
    command = ("generate", "inputs", "--num", "3", "--seeds", "seeds.jsonl", "--base-url", service)
    assert run(*command).exit_code == 0
    assert run(*command).exit_code == 0
    made = rows(folder / "pi-inputs.jsonl")
    assert [row["index"] for row in made] == [0, 1, 2] * 2
    assert len({row["job_id"] for row in made}) == 2
    assert "llm_output" not in made[0]


def test_an_interrupted_job_continues_where_the_file_ends(service: str, folder: Path) -> None:
    """A torn last line is replaced; no row is fetched twice."""
    run("generate", "inputs", "--num", "5", "--base-url", service)
    output = folder / "pi-inputs.jsonl"
    whole = output.read_bytes()
    output.write_bytes(whole[: whole.index(b"\n") + 20])
    job_id = rows_job(whole)
    result = run("generate", "inputs", "--job", job_id, "--base-url", service)
    assert result.exit_code == 0, result.output
    assert "1 rows are already in" in result.stderr
    assert output.read_bytes() == whole


def rows_job(content: bytes) -> str:
    job_id: str = json.loads(content.splitlines()[0])["job_id"]
    return job_id


def test_a_job_that_stops_short_is_not_a_success(service: str, folder: Path) -> None:
    """Exit status 3, with the reason; what was made is in the file."""
    result = run("generate", "pairs", "--num", "5000", "--max-cost-usd", "0.01", "--base-url", service)
    assert result.exit_code == 3
    assert "max_cost_usd" in result.stderr
    assert 0 < len(rows(folder / "pi-pairs.jsonl")) < 5000


def test_rows_on_standard_output_are_alone_there(service: str, folder: Path) -> None:
    """Every row of the job; notes and figures go to standard error, and no file is made."""
    result = run("generate", "inputs", "--num", "4", "--output", "-", "--base-url", service)
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["index"] for line in result.stdout.splitlines()] == [0, 1, 2, 3]
    assert "4 accepted" in result.stderr
    assert "Rows: standard output" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["seeds.csv"]


def interrupted(folder: Path) -> tuple[list[str], list[str]]:
    """The commands that an interrupted generation prints: to continue, and to cancel."""
    output = folder / "pairs.jsonl"
    options = ("--generator", SLOW, "--data-dir", str(folder / "jobs"), "--output", str(output))
    with running("generate", "pairs", "--num", "25", *options) as process:
        process.says("RUNNING")
        while not output.exists() or len(rows(output)) < 5:
            time.sleep(0.02)
        status, seconds = process.stop(signal.SIGINT)
    assert status == 130
    assert seconds < 15
    assert f"the next engine on {folder / 'jobs'} that has a generator" in process.said
    proceed, cancel = (shlex.split(line) for line in process.said.strip().splitlines()[-2:])
    assert proceed[:3] == ["pi-integrations", "generate", "pairs"]
    assert cancel[:3] == ["pi-integrations", "jobs", "cancel"]
    return proceed[1:], cancel[1:]


def test_an_interrupted_generation_prints_the_command_that_continues_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl+C with an engine of its own: exit status 130; the command that it prints finishes the job.

    That one engine takes over from another is no reason for a warning.
    """
    proceed, _ = interrupted(tmp_path)
    output = tmp_path / "pairs.jsonl"
    assert 0 < len(rows(output)) < 25
    result = run(*[SCRIPTED if word == SLOW else word for word in proceed])
    assert result.exit_code == 0, result.output
    assert [row["index"] for row in rows(output)] == list(range(25))
    assert len({row["llm_input"] for row in rows(output)}) == 25
    listed = run("jobs", "list", "--data-dir", str(tmp_path / "jobs")).stdout
    assert re.search(rf"{rows(output)[0]['job_id']}  pairs  DONE +25 ", listed)
    assert "WARNING" not in capfd.readouterr().err


def test_an_interrupted_generation_without_a_generator_is_followed_and_cancelled(tmp_path: Path) -> None:
    """`follow` says at once that its engine has no generator for the job; `cancel` ends it."""
    proceed, cancel = interrupted(tmp_path)
    job_id, where = cancel[2], cancel[3:]
    with running("jobs", "follow", job_id, *where) as follow:
        follow.says("its engine has no generator")
        assert shlex.split(follow.says(r"pi-integrations (generate .*)\n")[1])[:4] == proceed[:4]
        assert follow.stop(signal.SIGINT)[0] == 130
    assert shlex.join(cancel) in follow.said
    assert run(*cancel).exit_code == 0
    followed = run("jobs", "follow", job_id, *where)
    assert followed.exit_code == 3
    assert followed.stdout.splitlines()[-1] == "CANCELLED"
    assert "no generator" not in followed.stderr


def test_jobs_are_listed_shown_followed_and_cancelled(service: str) -> None:
    """Of both kinds; following one that was cancelled is no success."""
    client = PiClient(base_url=service)
    long = client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=5000, seeds=[])
    short = client.data.generate.start_job(num_inputs_to_generate=3, seeds=[])
    short.result()
    next(iter(long.data()))  # so that it runs
    where = ("--base-url", service)
    listed = run("jobs", "list", *where).stdout
    assert listed.index(short.job_id) < listed.index(long.job_id)
    assert [line.split()[:3] for line in listed.splitlines() if long.job_id in line] == [
        [long.job_id, "pairs", "RUNNING"]
    ]
    assert [line.split()[:4] for line in listed.splitlines() if short.job_id in line] == [
        [short.job_id, "inputs", "DONE", "3"]
    ]
    assert re.search(rf"{short.job_id} .* \d+ s  Made 3 of 3 inputs", listed)
    assert short.job_id not in run("jobs", "list", "--state", "running", *where).stdout
    followed = run("jobs", "follow", short.job_id, *where)
    assert followed.exit_code == 0
    assert followed.stdout.splitlines()[-1] == "DONE"
    assert len(run("jobs", "follow", short.job_id, "--data", *where).stdout.splitlines()) == 3
    assert long.job_id in run("jobs", "cancel", long.job_id, *where).stdout
    assert run("jobs", "follow", long.job_id, *where).exit_code == 3
    shown = run("jobs", "show", long.job_id, *where).stdout
    assert "CANCELLED" in shown
    assert "accepted" in shown
    missing = run("jobs", "show", "nothing", *where)
    assert isinstance(missing.exception, PiError)
    assert "jobs list" in str(missing.exception)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("pairs", "--num", "3"), "--generator with `generate`"),
        (("pairs", "--base-url", "http://x"), "--num is missing"),
        (("pairs", "--job", "a", "--num", "3", "--base-url", "http://x"), "leave out"),
        (("inputs", "--job", "a", "--parallel", "--base-url", "http://x"), "leave out"),
        (("pairs", "--num", "3", "--generator", SCRIPTED, "--base-url", "http://x"), "give one of them"),
        (("inputs", "--num", "3", "--judge", "baseline"), "give --generator too"),
        (("pairs", "--num", "3", "--seeds", "seeds.csv", "--base-url", "http://x"), "seeds.csv"),
        (("pairs", "--num", "3", "--seeds", "none.csv", "--base-url", "http://x"), "none.csv"),
        (("pairs", "--num", "3", "--description", "@none.txt", "--base-url", "http://x"), "none.txt"),
        (("pairs", "--num", "3", "--batch-size", "11", "--base-url", "http://x"), "batch_size"),
        (("pairs", "--num", "10000000", "--base-url", "http://x"), "num_pairs_to_generate"),
        (("pairs", "--num", "3", "--output", "seeds.csv", "--base-url", "http://x"), "choose another --output"),
        (("pairs", "--num", "3", "--output", "no/rows.jsonl", "--base-url", "http://x"), "folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_usage_is_an_error_before_any_request(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    """And leaves every file as it was."""
    result = run("generate", *arguments)
    assert isinstance(result.exception, PiError), result.output
    assert says in str(result.exception)
    assert [path.name for path in folder.iterdir()] == ["seeds.csv"]
    assert (folder / "seeds.csv").read_text() == SEEDS


def test_jobs_of_any_registered_family_are_listed_shown_followed_and_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family is known by its registry entry alone; one that makes no items has no rows to print."""
    monkeypatch.setattr(families, "FAMILIES", (JobFamily("/data/tune", "tuning", BaseModel, JobStatus),))
    with job_server() as server:
        where = ("--base-url", server.url)
        assert re.search(r"^job-1  tuning  DONE ", run("jobs", "list", *where).stdout, re.MULTILINE)
        assert "tuning   DONE" in run("jobs", "show", "job-1", *where).stdout
        assert run("jobs", "follow", "job-1", *where).stdout.split() == ["LAUNCHING", "RUNNING", "DONE"]
        assert "no data stream" in str(run("jobs", "follow", "job-1", "--data", *where).exception)
        assert run("jobs", "cancel", "job-1", *where).stdout == "cancelled\n"
