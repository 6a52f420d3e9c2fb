"""The protocol of child processes, through a third kind of child: one that streams progress, as training does."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pi_integrations import PiUsageError
from pi_integrations.engine.processes import ChildEnded, ChildFailed, ChildProcess


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def until(condition: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def test_progress_arrives_in_order_and_the_lock_is_held_to_the_end(tmp_path: Path) -> None:
    """The stream ends with the child, which leaves no zombie."""
    lock, child = tmp_path / "lock", ChildProcess("progress_child:progress")
    pid = child.start({"lock": str(lock), "steps": 100, "pause": 0.001})["pid"]
    assert is_locked(lock)
    assert [child.receive()["step"] for _ in range(100)] == list(range(100))
    with pytest.raises(ChildEnded, match="exit status 0"):
        child.receive()
    assert not is_there(pid)
    assert not is_locked(lock)


def test_a_stop_request_is_followed_in_order(tmp_path: Path) -> None:
    """The child sees it between two steps."""
    child = ChildProcess("progress_child:progress")
    child.start({"lock": str(tmp_path / "lock"), "steps": 10_000, "pause": 0.05})
    child.request_stop()
    assert child.wait() == 0
    assert not child.alive


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_a_child_that_does_not_stop_is_ended_by_force(tmp_path: Path, way: str) -> None:
    """At once, or after the time it was given."""
    child = ChildProcess("progress_child:progress")
    child.start({"lock": str(tmp_path / "lock"), "steps": 1, "stubborn": True})
    if way == "kill":
        child.kill()
    else:
        child.stop(0.1)
    assert child.wait() == -9


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        ("refuses", PiUsageError, "^steps is -1; give 0 or more$"),
        ("lacks", ImportError, "no_such_package"),
        ("breaks", ChildFailed, "ZeroDivisionError: by zero"),
        ("leaves", ChildEnded, "ended with exit status 7"),
        ("absent", ChildFailed, "AttributeError"),
    ],
)
def test_what_keeps_a_child_from_starting_is_raised(target: str, error: type[Exception], says: str) -> None:
    """As the error it is."""
    child = ChildProcess(f"progress_child:{target}")
    with pytest.raises(error, match=says):
        child.start({})
    child.stop(5)
    assert not child.alive


def test_a_killed_child_does_not_start() -> None:
    """The kill may come first."""
    child = ChildProcess("progress_child:progress")
    child.kill()
    with pytest.raises(ChildEnded, match="stopped before"):
        child.start({})


def test_a_child_with_an_environment_sees_no_other_variable_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its traceback is dropped; what it has to say is in the report."""
    monkeypatch.setenv("WITHPI_API_KEY", "hush-hush")
    child = ChildProcess("progress_child:breaks", environment={"PATH": os.environ["PATH"]})
    with pytest.raises(ChildFailed):
        child.start({})
    child.stop(5)
    assert capfd.readouterr() == ("", "")


PARENT = """
import os, sys, time
sys.path.insert(0, sys.argv[3])
from pi_integrations.engine.processes import ChildProcess

child = ChildProcess("progress_child:progress")
stubborn = sys.argv[2] == "stubborn"
order = {"lock": sys.argv[1], "steps": 1 if stubborn else 100_000, "pause": 0.01, "stubborn": stubborn}
pid = child.start(order)["pid"]
copy = os.fork() if sys.argv[2] == "copied" else 0
if copy or sys.argv[2] != "copied":
    print(pid, copy, flush=True)
    while True:
        child.receive()
time.sleep(60)
"""


@pytest.mark.parametrize("case", ["orderly", "stubborn", "copied"])
def test_the_child_dies_when_its_parent_is_killed(tmp_path: Path, case: str) -> None:
    """SIGKILL; also when the child does not stop, or a fork of the parent holds the pipes open. The lock is free."""
    lock = tmp_path / "lock"
    command = [sys.executable, "-W", "ignore", "-c", PARENT, str(lock), case, str(Path(__file__).parents[1])]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, copy = map(int, parent.stdout.readline().split())
    assert is_locked(lock)
    parent.kill()
    assert until(lambda: not is_there(pid), 5)
    assert not is_locked(lock)
    if copy:
        os.kill(copy, 9)
    parent.communicate()
