"""Child processes of the engine, all under one protocol: sandbox workers, an engine process, and training.

A child is a fresh interpreter with this process's import path that calls a `module:function` of ours. Messages are JSON
values, each after its length in four bytes, over the child's standard input and output; the order that starts a child
goes the same way, so that nothing secret is in its arguments. Standard input is its lifeline: the child ends when its
parent asks it to or is gone, however the parent ended.

Three uses, one class:

- requests and replies (sandbox): `start`, then `ask` as often as needed, then `stop`;
- a server (engine process): `start`, then `wait` in a thread of its own, and `request_stop`;
- progress (training): `start`, then `receive` in a thread until `ChildEnded`, and `request_stop`. The child calls
  `parent.on_stop` and sends a message per step. It takes its job's lock itself, by the path in its order, so that the
  lock is free when, and only when, the process is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any

from pi_integrations.errors import PiUsageError

__all__ = ["ERRORS", "ChildEnded", "ChildFailed", "ChildProcess", "EndOfStream", "encode", "receive", "send"]

_LENGTH = struct.Struct(">I")
# No JSON value is empty: a message of length 0 asks the child to stop.
_STOP = _LENGTH.pack(0)
# In one line, for readable process listings. The path comes first: it decides what the second import finds.
_BOOT = (
    "import json, sys; parent, sys.path[:] = json.loads(sys.argv[1]);"
    " from pi_integrations.engine.parent_process import run_child; run_child(sys.argv[2], parent)"
)
# How long a child whose stream ended may take to end, before it is killed.
_EXIT_SECONDS = 2.0


class EndOfStream(Exception):
    """The other side closed the stream, asked to stop, or died."""


class ChildEnded(Exception):
    """The child ended before it replied."""


class ChildFailed(Exception):
    """The child could not start, for a reason other than its configuration or a missing package."""


# By the `kind` in a child's report.
ERRORS: dict[str, type[Exception]] = {"usage": PiUsageError, "import": ImportError, "other": ChildFailed}


def encode(message: Any) -> bytes:
    """`message` as JSON text; raises TypeError, ValueError or RecursionError where JSON has no form for it."""
    return json.dumps(message).encode()


def send(stream: IO[bytes], payload: bytes) -> None:
    """Writes an encoded message to an unbuffered stream; raises EndOfStream when nobody reads it any more."""
    rest = memoryview(_LENGTH.pack(len(payload)) + payload)
    try:
        while rest:
            rest = rest[stream.write(rest) :]
    except (OSError, ValueError) as error:
        raise EndOfStream from error


def receive(stream: IO[bytes]) -> Any:
    """The next message of an unbuffered stream; raises EndOfStream when the stream ends first."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if not length:
        raise EndOfStream
    return json.loads(_exactly(stream, length))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = stream.read(min(size - len(parts), 1 << 20))
        except (OSError, ValueError) as error:
            raise EndOfStream from error
        if not part:
            raise EndOfStream
        parts += part
    return bytes(parts)


class ChildProcess:
    """A child process, seen from its parent. Methods block, but for `request_stop` and `kill`, for any thread to call.

    Args:
        target: `module:function` that the child calls with its `ParentProcess`.
        environment: The child's whole environment. Given, the child is also isolated from `PYTHON*` variables, and its
            standard error is dropped. Default: this process's environment and standard error.
    """

    def __init__(self, target: str, *, environment: Mapping[str, str] | None = None) -> None:
        self._target, self._environment = target, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._state, self._writing, self._reading = threading.Lock(), threading.Lock(), threading.Lock()

    @property
    def started(self) -> bool:
        """Whether `start` has made the process."""
        return self._process is not None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, order: Any) -> dict[str, Any]:
        """The child's report that it is ready; `order` is its first message.

        Raises:
            PiUsageError: The child refuses its configuration.
            ImportError: It lacks a package.
            ChildFailed: It failed for another reason.
            ChildEnded: It ended, or was killed, before it was ready.
            OSError: The machine can start no other process.
        """
        with self._state:
            if self._killed:
                raise ChildEnded("was stopped before it had started")
            self._process = _spawn(self._target, self._environment)
        report: dict[str, Any] = self.ask(encode(order))
        if "failed" in report:
            raise ERRORS[report["kind"]](report["failed"])
        return report

    def ask(self, request: bytes) -> Any:
        """The reply to `request`, an encoded message; raises ChildEnded when the child ends first."""
        try:
            with self._writing:
                send(self._pipe("stdin"), request)
        except EndOfStream:
            raise self._ended() from None
        return self.receive()

    def receive(self) -> Any:
        """The child's next message; raises ChildEnded when the child ends first."""
        try:
            with self._reading:
                return receive(self._pipe("stdout"))
        except EndOfStream:
            raise self._ended() from None

    def request_stop(self) -> None:
        """Asks the child to end in order; returns at once."""
        if self._process is None:
            return
        with self._writing, contextlib.suppress(OSError, ValueError):
            # The message too: a fork of this process may hold a copy of the pipe, which then stays open.
            self._pipe("stdin").write(_STOP)
            self._pipe("stdin").close()

    def kill(self) -> None:
        """Ends the child, and its children in its session, at once; waiting calls raise `ChildEnded`."""
        with self._state:
            self._killed = True
            if self._process is not None and self._process.returncode is None:
                _kill_group(self._process)

    def stop(self, seconds: float) -> None:
        """Ends the child, by force after `seconds`, and releases its pipes and its process entry."""
        self.request_stop()
        if self._process is not None:
            self._end_within(seconds)

    def wait(self) -> int:
        """The exit status, once the child has ended; leaves no zombie."""
        assert self._process is not None
        status = self._process.wait()
        with self._writing, contextlib.suppress(OSError):
            self._pipe("stdin").close()
        with self._reading:
            self._pipe("stdout").close()
        return status

    def forget(self) -> None:
        """Lets go of a child that belongs to the parent of a fork, without disturbing it."""
        if self._process is None:
            return
        # A status keeps Popen from waiting for a process that is not this one's child.
        # No lock: a thread that held one does not exist on this side of the fork.
        self._process.returncode = 0
        self._pipe("stdin").close()
        self._pipe("stdout").close()

    def _pipe(self, name: str) -> IO[bytes]:
        pipe: IO[bytes] = getattr(self._process, name)
        return pipe

    def _ended(self) -> ChildEnded:
        return ChildEnded(f"ended with exit status {self._end_within(_EXIT_SECONDS)}")

    def _end_within(self, seconds: float) -> int:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.wait()


def _spawn(target: str, environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    path = [entry for entry in sys.path if isinstance(entry, str)]
    isolated = environment is not None
    return subprocess.Popen(
        [sys.executable, *(["-I"] if isolated else []), "-c", _BOOT, json.dumps([os.getpid(), path]), target],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if isolated or not _has_standard_error() else None,
        bufsize=0,
        env=environment,
        # In a session of its own: Ctrl+C is for this process, which decides what becomes of its children.
        start_new_session=True,
    )


def _has_standard_error() -> bool:
    try:
        os.fstat(2)
    except OSError:
        return False
    return True


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if not hasattr(os, "killpg"):
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
