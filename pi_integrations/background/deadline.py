"""How long somebody waits, over several steps."""

from __future__ import annotations

import math
import threading
import time

from pi_integrations.errors import PiUsageError

__all__ = ["Deadline"]


class Deadline:
    """`timeout` seconds from now; for None or infinity, never; below 0, now.

    Raises:
        PiUsageError: when `timeout` is no number.

    Example:
        >>> Deadline(-1.0).left, Deadline(None).left, Deadline(float("inf")).left
        (0.0, None, None)
    """

    def __init__(self, timeout: float | None) -> None:
        try:
            is_number = timeout is None or not math.isnan(timeout)
        except TypeError:
            is_number = False
        if not is_number:
            raise PiUsageError(f"timeout is {timeout!r}; give seconds, or None to wait as long as it takes")
        self._end = None if timeout is None or timeout > threading.TIMEOUT_MAX / 2 else time.monotonic() + timeout

    @property
    def left(self) -> float | None:
        """Seconds, at least 0; None without an end."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)
