"""What code of an application's may raise in the middle of ours without ending more than what it was asked for."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Final

__all__ = ["TROUBLE"]

TROUBLE: Final = (Exception, SystemExit, CancelledError)
"""Counted and logged. Not Ctrl-C, nor what frameworks of other loops throw in to end their tasks."""
