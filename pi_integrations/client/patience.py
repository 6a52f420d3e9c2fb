"""How long a stream that is cut again and again is tried again."""

from __future__ import annotations

import asyncio
import time

from pi_integrations.client.retry import RetryPolicy
from pi_integrations.errors import PiConnectionError

__all__ = ["Patience"]


class Patience:
    """Counts failures since the last progress. `RetryPolicy.total` bounds them by time, since an engine that is being
    restarted is away for longer than a few tries last; `attempts=1` allows none."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.renew()

    def renew(self) -> None:
        """Begins anew, after progress."""
        self._failures = 0
        self._since: float | None = None

    async def pace(self) -> None:
        """Waits as after a failure, for a service that is well and has nothing to say."""
        self._failures += 1
        await asyncio.sleep(self._policy.pause(self._failures))

    async def wait(self, error: PiConnectionError) -> None:
        """Waits after a failure; after the first not at all.

        Raises:
            PiConnectionError: `error`, when there is no patience left.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        self._failures += 1
        pause = self._policy.pause(self._failures - 1) if self._failures > 1 else 0.0
        if self._policy.attempts == 1 or now + pause - self._since > self._policy.total:
            spent = now - self._since
            error.args = (f"{error} No new line came on {self._failures} connections in {spent:.1f} s.",)
            raise error
        await asyncio.sleep(pause)
