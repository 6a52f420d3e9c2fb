"""A child process's side of the protocol in `processes`: its orders, its reports, and its end with its parent's."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import IO, Any

from pi_integrations.engine.processes import ERRORS, EndOfStream, encode, receive, send
from pi_integrations.errors import PiUsageError

__all__ = ["ParentProcess", "run_child"]

# How often the child checks that its parent still exists.
_CHECK_SECONDS = 1.0
# How long the child may take to end in order, before it ends itself by force.
_LAST_SECONDS = 6.0


class ParentProcess:
    """Messages from and to the parent. Made in the child, once, by `run_child`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._orders, self._reports = _private_streams()
        self._on_stop: Callable[[], None] | None = None
        self._seconds = _LAST_SECONDS
        self.reported = False
        threading.Thread(target=self._follow, name="pi-lifeline", daemon=True).start()

    def receive(self) -> Any:
        """The parent's next message; raises EndOfStream when the parent asks to stop or is gone."""
        return receive(self._orders)

    def send(self, message: Any) -> None:
        """Sends `message`; raises EndOfStream when the parent is gone."""
        send(self._reports, encode(message))

    def ready(self, **details: Any) -> None:
        """Reports that the child has started; `details` are what the parent's `start` returns."""
        self.reported = True
        self.send(details)

    def failed(self, error: Exception) -> None:
        """Reports why the child cannot start."""
        self.reported = True
        kind = next((kind for kind, known in ERRORS.items() if isinstance(error, known)), "other")
        message = str(error) if kind != "other" else f"{type(error).__name__}: {error}"
        with contextlib.suppress(EndOfStream):
            self.send({"failed": message, "kind": kind})

    def on_stop(self, callback: Callable[[], None], *, seconds: float = _LAST_SECONDS) -> None:
        """Calls `callback`, on another thread, when the parent asks to stop or is gone. Excludes `receive` from now on.

        Args:
            callback: Begins the orderly end of this process.
            seconds: How long that may take, before the process ends itself by force.
        """
        self._on_stop, self._seconds = callback, seconds

    def _follow(self) -> None:
        """Ends this process by force, some seconds after the parent asked it to stop or is gone."""
        if not hasattr(select, "poll"):
            return  # Windows: the child notices at its next message.
        while not self._stop_seen() and os.getppid() == self._pid:
            pass
        if self._on_stop is not None:
            self._on_stop()
        time.sleep(self._seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    def _stop_seen(self) -> bool:
        # Without POLLIN, messages are left to `receive` and only the stream's end shows. A fork of the parent may hold
        # the stream open, hence the time limit, and the check of the parent's id.
        poller = select.poll()
        poller.register(self._orders, select.POLLIN if self._on_stop is not None else 0)
        return bool(poller.poll(_CHECK_SECONDS * 1000))


def run_child(target: str, parent_pid: int) -> None:
    """Runs `target` in the child; an error before it is ready is reported to the parent."""
    parent = ParentProcess(parent_pid)
    module, _, function = target.partition(":")
    try:
        getattr(import_module(module), function)(parent)
    except EndOfStream:
        return
    except Exception as error:
        if parent.reported:
            raise
        parent.failed(error)
        if not isinstance(error, PiUsageError | ImportError):
            raise


def _private_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input and output moved out of reach: prints go to standard error, and nothing else reads the input."""
    orders = os.fdopen(os.dup(0), "rb", buffering=0)
    reports = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, reports
