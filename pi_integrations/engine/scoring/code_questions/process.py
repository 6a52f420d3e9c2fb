"""One worker process, seen from the engine: started, asked, killed.

The worker is a Python interpreter of its own rather than a pool inside the engine, because pydantic-monty 1.4.0 hangs
or crashes in a process that forked after using it, and its threads may abort an interpreter that is shutting down.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import IO, Any, NoReturn

from pi_integrations.engine.scoring.code_questions.frames import EndOfStream, receive, send
from pi_integrations.engine.scoring.code_questions.limits import CodeLimits

__all__ = ["SandboxProcess", "SandboxUnavailable"]

# The worker sees the modules this process sees, however they were found, and none of the user's current directory.
_BOOT = """
import json, sys
path, limits = json.loads(sys.argv[1])
sys.path[:] = path
from pi_integrations.engine.scoring.code_questions.sandbox.serve import main
main(limits)
"""
# No API key or other secret of the engine's environment reaches the worker.
_ENVIRONMENT = ("PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "MONTY_BIN")
_EXIT_SECONDS = 1.0
_RUNNING = "while it ran python_code"


class SandboxUnavailable(Exception):
    """The worker process did not start, or ended, for reasons outside the user's code as far as we can see."""


class SandboxProcess:
    """A worker process. `start`, `ask` and `stop` block, one thread at a time; `kill` may come from any thread."""

    def __init__(self, limits: CodeLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._state = threading.Lock()
        self._streams = threading.Lock()

    @property
    def started(self) -> bool:
        """Whether `start` has made the process."""
        return self._process is not None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the worker and waits until it can be asked.

        Raises:
            SandboxUnavailable: saying why not.
        """
        with self._streams:
            with self._state:
                if self._killed:
                    raise SandboxUnavailable("the sandbox was stopped before it had started")
                try:
                    self._process = _spawn(self._limits)
                except OSError as error:
                    raise SandboxUnavailable(f"the sandbox could not be started: {error}") from error
            greeting = self._receive("while it started")
        if not greeting.get("ready"):
            raise SandboxUnavailable(f"the sandbox could not be started: {greeting.get('failed')}")

    def ask(self, request: bytes) -> dict[str, Any]:
        """The worker's reply to one request.

        Raises:
            SandboxUnavailable: when the worker ended first.
        """
        with self._streams:
            try:
                send(self._pipe("stdin"), request)
            except EndOfStream:
                self._fail(_RUNNING)
            return self._receive(_RUNNING)

    def kill(self) -> None:
        """Ends the worker and the interpreter it drives, at once; a thread that waits in `start` or `ask` is freed."""
        with self._state:
            self._killed = True
            if self._process is not None and self._process.returncode is None:
                _signal_group(self._process)

    def stop(self) -> None:
        """Ends the worker in order, or by force if it is busy, and releases its pipes and its process entry."""
        if self._process is None:
            return
        with self._streams:
            self._pipe("stdin").close()
            try:
                self._process.wait(0 if self._killed else _EXIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                self._process.wait()
            self._pipe("stdout").close()

    def forget(self) -> None:
        """Lets go of a process that belongs to the parent of a fork, without disturbing it."""
        if self._process is None:
            return
        self._process.returncode = 0
        self._pipe("stdin").close()
        self._pipe("stdout").close()

    def _pipe(self, name: str) -> IO[bytes]:
        pipe: IO[bytes] = getattr(self._process, name)
        return pipe

    def _receive(self, when: str) -> dict[str, Any]:
        try:
            message: dict[str, Any] = receive(self._pipe("stdout"))
        except EndOfStream:
            self._fail(when)
        return message

    def _fail(self, when: str) -> NoReturn:
        self.kill()
        assert self._process is not None
        raise SandboxUnavailable(
            f"the sandbox process ended {when} (exit status {self._process.wait()}); try again, and check the machine's"
            " memory if it happens twice"
        )


def _spawn(limits: CodeLimits) -> subprocess.Popen[bytes]:
    path = [entry for entry in sys.path if isinstance(entry, str)]
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _BOOT, json.dumps([path, asdict(limits)])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        start_new_session=True,
    )


def _signal_group(process: subprocess.Popen[bytes]) -> None:
    if not hasattr(os, "killpg"):
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
