"""Errors that must not reach the application: which ones are absorbed, and how each kind is logged once."""

from __future__ import annotations

import logging
import threading
from asyncio import CancelledError
from collections.abc import Hashable
from contextlib import suppress
from typing import Final

from pi_integrations.errors import PiError

__all__ = ["ABSORBED_ERRORS", "WarnOnce", "is_ctrl_c", "kind_of"]

ABSORBED_ERRORS: Final = (Exception, SystemExit, CancelledError)
"""Counted and logged when an application's own code raises them inside ours. Not Ctrl-C, nor the exceptions by which
frameworks with event loops of their own cancel tasks."""


def is_ctrl_c(error: BaseException) -> bool:
    """Whether `error` is the user's Ctrl-C, which Python raises on the main thread alone."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def kind_of(error: BaseException) -> Hashable:
    """The type of `error` and its HTTP status, if it has one: errors with the same are logged once."""
    return type(error), getattr(error, "status", None)


class WarnOnce:
    """Logs the first warning of each kind to `logger`; thread-safe, without a lock.

    Example:
        >>> warn = WarnOnce(logging.getLogger("example"))
        >>> warn("full", "the queue is full")
        >>> warn("full", "the queue is full")  # not logged again
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._seen: dict[Hashable, object] = {}

    def __call__(self, kind: Hashable, message: str, error: BaseException | None = None) -> None:
        """Logs `message` when it is the first of its `kind`, with the traceback of `error` unless it is a `PiError`.

        A `PiError` says all there is to know, and its traceback would keep the exchange in memory.
        """
        mark = object()
        trace = None if isinstance(error, PiError) else error
        # setdefault is atomic: of two threads with the same kind, one finds its own mark.
        if self._seen.setdefault(kind, mark) is mark:
            # A log handler of the application's that raises must not end our threads, nor reach the caller of `submit`.
            with suppress(Exception):
                self._logger.warning("%s More of this kind are counted, not logged.", message, exc_info=trace)

    def of(self, error: BaseException, what: str, about: Hashable = None) -> None:
        """Logs `what` went wrong and why, once for each kind of error and each thing it is `about`."""
        self((about, kind_of(error)), f"{what}: {type(error).__name__}: {error}", error)
