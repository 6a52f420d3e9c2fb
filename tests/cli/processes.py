"""Commands run as processes of their own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPTED = "object:pi_integrations.engine.synthesis.scripted_generator:ScriptedGenerator"
SLOW = "object:embedded_objects:slow_generator"
TESTS = Path(__file__).parents[1]


class Process:
    """A command, and what it says on standard error."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pi_integrations", *arguments]
        # In the folder where `object:` finds what the tests name.
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=TESTS)
        self.said = ""

    def says(self, pattern: str) -> re.Match[str]:
        """Waits until what it has said matches."""
        assert self._process.stderr is not None
        while not (match := re.search(pattern, self.said)):
            line = self._process.stderr.readline()
            assert line, self.said
            self.said += line
        return match

    def stop(self, number: signal.Signals) -> tuple[int, float]:
        """The exit status, and the seconds it took."""
        began = time.monotonic()
        self._process.send_signal(number)
        status = self._process.wait(20)
        return status, time.monotonic() - began

    def end(self) -> None:
        """Ends it, and hears the rest."""
        self._process.kill()
        self.said += self._process.communicate()[1]


@contextmanager
def running(*arguments: str) -> Iterator[Process]:
    """The command, ended with the block."""
    process = Process(*arguments)
    try:
        yield process
    finally:
        process.end()


def address(serve: Process) -> str:
    """Where a `serve` that is up can be reached."""
    return serve.says(r"at (http://\S+),")[1]
