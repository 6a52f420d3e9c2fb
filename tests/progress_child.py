"""Targets of child processes in `test_processes`: one that reports progress and holds a lock, and ones that fail."""

from __future__ import annotations

import fcntl
import os
import threading
from typing import Any

from pi_integrations.engine.parent_process import ParentProcess
from pi_integrations.errors import PiUsageError


def progress(parent: ParentProcess) -> None:
    """Locks the order's file and sends a message per step, until all steps are done or it is asked to stop."""
    order: dict[str, Any] = parent.receive()
    stopped = threading.Event()
    parent.on_stop(stopped.set, seconds=0.5)
    lock = os.open(order["lock"], os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    parent.ready(pid=os.getpid())
    for step in range(order["steps"]):
        parent.send({"step": step, "note": "é\n" * 3})
        if stopped.wait(order.get("pause", 0.0)) and not order.get("stubborn"):
            return
    if order.get("stubborn"):
        threading.Event().wait()


def refuses(parent: ParentProcess) -> None:
    """Finds fault with its configuration."""
    raise PiUsageError("steps is -1; give 0 or more")


def lacks(parent: ParentProcess) -> None:
    """Imports a package that is missing."""
    import no_such_package  # noqa: F401


def breaks(parent: ParentProcess) -> None:
    """Has a bug."""
    raise ZeroDivisionError("by zero")


def leaves(parent: ParentProcess) -> None:
    """Ends without a word."""
    os._exit(7)
