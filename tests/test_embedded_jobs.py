"""`embedded(jobs=True)`: an engine in a process of its own, which is there as long as it is wanted and no longer."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pi_integrations import PiClient, PiUsageError, embedded
from pi_integrations.local import Embedded
from pi_integrations.testing import ScriptedJudge

GENERATOR = "object:pi_integrations.engine.synthesis.scripted_generator:ScriptedGenerator"
SLOW = "object:embedded_objects:slow_generator"
JUDGE = "object:embedded_objects:judge"
QUESTION = "Is it polite?"


def engine(**given: Any) -> Embedded:
    return embedded(jobs=True, **{"judge": "baseline", "generator": GENERATOR, **given})


def engines(parent: int | None = None) -> list[int]:
    """The children of a process, zombies included."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [int(pid) for pid, ppid, args in rows if int(ppid) == (parent or os.getpid()) and "serve_for_parent" in args]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone_within(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not is_there(pid):
            return True
        time.sleep(0.02)
    return False


def start(client: PiClient, number: int) -> Any:
    return client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=number, seeds=[])


def test_a_job_runs_beside_this_process_and_ends_with_the_client(tmp_path: Path) -> None:
    """Another engine on the same directory, here at the same time, has the same jobs; neither leaves a zombie."""
    with engine(data_dir=tmp_path) as client:
        (pid,) = engines()
        job = start(client, 12)
        rows = list(job.data())
        assert (len(rows), len({row.llm_input for row in rows})) == (12, 12)
        with engine(data_dir=tmp_path) as second:
            assert len(engines()) == 2
            assert second.data.generate_input_response_pairs.job(job.job_id).result().data == rows
        assert engines() == [pid]
    assert engines() == []
    assert not is_there(pid)


async def test_loops_and_threads_share_one_engine(tmp_path: Path) -> None:
    """Without a `with` the first call starts it, though eight come at once; then this loop and another use it."""
    spec = [{"question": QUESTION}]
    client = engine(judge=JUDGE, generator=None, data_dir=tmp_path).async_client()
    assert engines() == []
    score = PiClient(client=client).scoring_system.score
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda _: score(llm_input="", llm_output="Hi", scoring_spec=spec).total_score, range(8))
        assert set(made) == {0.25}
    assert await client.data.generate.list() == []
    assert await asyncio.to_thread(lambda: asyncio.run(client.data.generate.list())) == []
    assert len(engines()) == 1
    await client.aclose()
    assert engines() == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"generator": "object:embedded_objects:nothing"}, "cannot be imported"),
        ({"judge": "object:embedded_objects:QUESTION"}, "judge object:embedded_objects:QUESTION is a str"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value.values())),
)
def test_what_the_engine_says_against_starting_is_raised_here(tmp_path: Path, given: dict[str, str], says: str) -> None:
    """As the error it is, where the engine was asked for; nothing is left running."""
    with pytest.raises(PiUsageError, match=says):
        with engine(data_dir=tmp_path, **given):
            pass
    assert engines() == []


@pytest.mark.parametrize("given", [{"judge": ScriptedJudge(default=0.5)}, {"generator": object()}], ids=list)
def test_objects_cannot_go_to_another_process(tmp_path: Path, given: dict[str, Any]) -> None:
    """The error says how they can be named."""
    with pytest.raises(PiUsageError, match="object:MODULE:NAME is imported there"):
        engine(data_dir=tmp_path, **given)


def test_what_is_for_jobs_needs_jobs() -> None:
    """Instead of being dropped."""
    with pytest.raises(PiUsageError, match="jobs=True"):
        embedded(judge="baseline", generator=GENERATOR)


def test_a_killed_engine_is_replaced_and_the_job_goes_on(tmp_path: Path) -> None:
    """kill -9 while rows are followed: all arrive, none twice."""
    with engine(generator=SLOW, data_dir=tmp_path) as client:
        (pid,) = engines()
        rows = []
        for row in start(client, 20).data():
            rows.append(row.llm_input)
            if len(rows) == 5:
                os.kill(pid, signal.SIGKILL)
        assert (len(rows), len(set(rows))) == (20, 20)
        assert engines() and pid not in engines()


def test_the_key_is_kept_for_this_user_alone_and_shown_to_nobody(tmp_path: Path) -> None:
    """Not in the arguments of the engine, nor in its environment."""
    with engine(generator=None, data_dir=tmp_path) as client:
        (pid,) = engines()
        kept = tmp_path / "embedded.key"
        key = kept.read_text().strip()
        assert client.settings.api_key is not None
        assert client.settings.api_key.get_secret_value() == key
        assert kept.stat().st_mode & 0o777 == 0o600
        for place in ("cmdline", "environ"):
            assert key.encode() not in Path(f"/proc/{pid}/{place}").read_bytes()


SCRIPT = """
import os, sys, time
from pi_integrations import embedded

client = embedded("baseline", jobs=True, data_dir=sys.argv[1]).client()
client.data.generate.list()
print("up", flush=True)
child = os.fork()
if sys.argv[2] == "copy":
    time.sleep(60)
if child:
    os.wait()
    client.data.generate.list()
else:
    os._exit(len(client.data.generate.list()))
"""


def run_script(folder: Path, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(folder), what]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_the_engine_goes_with_a_process_that_never_closed_it(tmp_path: Path) -> None:
    """An ordinary end of the interpreter, and after a fork whose child had an engine of its own."""
    process = run_script(tmp_path, "use")
    (pid,) = engines(process.pid)
    assert process.wait(30) == 0
    assert gone_within(pid, 5)
    process.communicate()


def test_the_engine_goes_with_a_process_that_was_killed(tmp_path: Path) -> None:
    """kill -9, although a forked child still holds copies of all that was open."""
    process = run_script(tmp_path, "copy")
    (pid,) = engines(process.pid)
    while len(children(process.pid)) < 2:
        time.sleep(0.02)
    (copy,) = set(children(process.pid)) - {pid}
    process.kill()
    process.wait()
    assert gone_within(pid, 6)
    assert is_there(copy)
    os.kill(copy, signal.SIGKILL)
    process.communicate()


def children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    return [int(pid) for pid in listed.split()]
