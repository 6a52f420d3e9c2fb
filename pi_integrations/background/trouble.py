"""What code of an application's may raise in the middle of ours without ending more than what it was asked for."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from typing import Final

__all__ = ["TROUBLE", "is_ctrl_c"]

TROUBLE: Final = (Exception, SystemExit, CancelledError)
"""Counted and logged. Not Ctrl-C, nor what frameworks of other loops throw in to end their tasks."""


def is_ctrl_c(error: BaseException) -> bool:
    """Whether somebody wants the process to end; on other threads than the main one, nobody can have said so."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()
