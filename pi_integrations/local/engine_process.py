"""An engine in a process of its own, seen from the process that wants it.

What it is told, its key included, goes through its standard input, which stays open as the sign that this process
lives; nothing secret is in its arguments or its environment.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pi_integrations.errors import PiConnectionError, PiError, PiUsageError

if TYPE_CHECKING:
    from pi_integrations.engine.settings import EngineSettings

__all__ = ["EngineProcess"]

# The path comes first: the child imports what this process would import, `object:MODULE:NAME` too.
_BOOTSTRAP = (
    "import sys; orders = open(0, 'rb', 0, closefd=False);"
    " sys.path[:] = orders.readline().decode('utf-8', 'surrogateescape').rstrip('\\n').split('\\0');"
    " from pi_integrations.local.child import main; main(orders)"
)


class EngineProcess:
    """Starts at once; thread-safe.

    Attributes:
        port: Where it takes requests on 127.0.0.1, once it does; or why it does not.
        ended: Its exit status, once it is gone.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.port: Future[int] = _future()
        self.ended: Future[int] = _future()
        self._writing = threading.Lock()
        # In a session of its own: Ctrl+C is for this process, which says to its engine what is to be done.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if _has_standard_error() else subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        watch = threading.Thread(target=self._watch, args=(_orders(settings),), name="pi-engine-watch", daemon=True)
        watch.start()

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return not self.ended.done()

    def _watch(self, orders: bytes) -> None:
        """Tells it what to do, hears what became of it, and waits for its end, so that it never is a zombie."""
        assert self._process.stdout is not None
        self._write(orders)
        report = self._process.stdout.readline()
        if report:
            _settle(self.port, report)
        status = self._process.wait()
        self._process.stdout.close()
        self._write(b"", last=True)
        if not self.port.done():
            self.port.set_exception(
                PiConnectionError(
                    f"the engine beside this process ended with status {status} before it took requests; what it said"
                    " is on standard error"
                )
            )
        self.ended.set_result(status)

    def stop(self) -> None:
        """Asks it to stop, which it does within seconds; one that is not up yet is ended."""
        if not self.port.done():
            self._process.kill()
        self._write(b"\n", last=True)

    def kill(self) -> None:
        """Ends it."""
        self._process.kill()

    def _write(self, data: bytes, *, last: bool = False) -> None:
        assert self._process.stdin is not None
        with self._writing:
            with suppress(OSError, ValueError):
                self._process.stdin.write(data)
            if last:
                with suppress(OSError):
                    self._process.stdin.close()


def _future() -> Future[int]:
    # Running, so that whoever gives up waiting does not cancel it for the others.
    future: Future[int] = Future()
    future.set_running_or_notify_cancel()
    return future


def _orders(settings: EngineSettings) -> bytes:
    path = "\0".join(entry for entry in sys.path if isinstance(entry, str) and "\n" not in entry)
    body = pickle.dumps((os.getpid(), settings))
    return path.encode("utf-8", "surrogateescape") + b"\n%d\n" % len(body) + body


def _has_standard_error() -> bool:
    try:
        os.fstat(2)
    except OSError:
        return False
    return True


def _settle(port: Future[int], report: bytes) -> None:
    """Reads the one line that the process writes: its port, or what it says against starting."""
    told: dict[str, Any] = json.loads(report)
    if "port" in told:
        port.set_result(told["port"])
    else:
        port.set_exception(_ERRORS[told["kind"]](told["message"]))


_ERRORS: dict[str, type[PiError] | type[ImportError]] = {
    "usage": PiUsageError,
    "import": ImportError,
    "other": PiConnectionError,
}
