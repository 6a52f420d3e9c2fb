"""Warnings that say a thing once: trouble in the background must be seen, and must not flood the log."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from contextlib import suppress

from pi_integrations.errors import PiError

__all__ = ["WarnOnce", "kind_of"]


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
        """Logs `message` when it is the first of its `kind`, with the traceback of `error` unless it is one of ours.

        Our own errors say all there is to know, and a traceback would keep the exchange that it came from.
        """
        mark = object()
        trace = None if isinstance(error, PiError) else error
        # setdefault is atomic: of two threads with the same kind, one finds its own mark.
        if self._seen.setdefault(kind, mark) is mark:
            # What an application's own log handlers raise must not end our threads, or reach who submits.
            with suppress(Exception):
                self._logger.warning("%s More of this kind are counted, not logged.", message, exc_info=trace)


def kind_of(error: BaseException) -> Hashable:
    """Errors of one kind have the same type and, where they have one, the same HTTP status."""
    return type(error), getattr(error, "status", None)
