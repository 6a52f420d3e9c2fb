"""When a request is tried again, how long to wait, and when to give up: tenacity, configured."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from pi_integrations.client.limiter import Limiter
from pi_integrations.errors import PiConnectionError, PiError, PiStatusError, PiUsageError

__all__ = ["RetryPolicy"]

T = TypeVar("T")
# Not the module's generator: an application that seeds that one gets the numbers it expects.
_jitter = random.Random()
_MOST_DOUBLINGS = 60


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retries of connection errors, 408, 429 and 5xx, unless the server says `x-should-retry: false`.

    Waits grow exponentially with jitter; a `retry-after` or `retry-after-ms` header takes their place. No other 4xx is
    ever retried, and cancellation never is.

    A job's stream that was cut is reopened for `total` seconds since its last new line, however often; with
    `attempts=1` it is not.

    Attributes:
        attempts: Tries in all, the first included.
        initial: Seconds before the second try, before jitter.
        maximum: Longest wait that no server asked for, in seconds.
        total: Seconds from the first attempt to the end, waits included: a wait that would pass it is not begun, and
            the last attempt is cut short at it. Waiting for a first slot of the concurrency limit does not count.

    Example:
        >>> RetryPolicy(attempts=5, total=20.0).attempts
        5
    """

    attempts: int = 4
    initial: float = 0.5
    maximum: float = 8.0
    total: float = 120.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise PiUsageError(f"RetryPolicy.attempts is {self.attempts}; it counts the first try, so at least 1")
        if not (self.initial >= 0 and self.maximum >= 0 and self.total > 0):
            raise PiUsageError("RetryPolicy.initial and maximum are seconds ≥ 0, total is seconds > 0")

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, at least 1, with jitter."""
        ceiling = min(self.maximum, self.initial * 2 ** min(failures - 1, _MOST_DOUBLINGS))
        return float(ceiling * _jitter.uniform(0.5, 1.0))

    async def run(self, attempt: Callable[[float], Awaitable[T]], limiter: Limiter) -> T:
        """What `attempt` returns; it is called in a slot of `limiter`, with the seconds left of `total`.

        Raises:
            PiError: the last real error, its message completed with the attempts and seconds spent.
        """
        await limiter.acquire()
        started = time.monotonic()
        try:
            return await attempt(self.total)
        except PiError as error:
            if not _is_retryable(error):
                raise
            failed = error
        finally:
            limiter.release()
        return await self._again(failed, attempt, limiter, started)

    async def _again(
        self, failed: PiError, attempt: Callable[[float], Awaitable[T]], limiter: Limiter, started: float
    ) -> T:
        """The further attempts after a failed one. A call that succeeds at once needs no tenacity."""
        last, tried = failed, 0

        async def once() -> T:
            nonlocal last, tried
            if not tried:
                tried = 1
                raise last
            await limiter.acquire()
            try:
                left = started + self.total - time.monotonic()
                if left <= 0:
                    raise last
                tried += 1
                return await attempt(left)
            except PiError as error:
                last = error
                raise
            finally:
                limiter.release()

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_retryable),
            wait=self._wait,
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self.attempts),
                tenacity.stop_before_delay(started + self.total - time.monotonic()),
            ),
            reraise=True,
        )
        try:
            return await retrying(once)
        except PiError as error:
            _complete(error, tried, time.monotonic() - started)
            raise

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            # Never sooner than the server asks, and clients not all at the same moment.
            return float(asked * _jitter.uniform(1.0, 1.25) + _jitter.uniform(0, self.initial))
        return self.pause(state.attempt_number)


def _is_retryable(error: BaseException) -> bool:
    if isinstance(error, PiConnectionError):
        return True
    if isinstance(error, PiStatusError):
        return (error.status in (408, 429) or error.status >= 500) and error.should_retry is not False
    return False


def _complete(error: PiError, attempts: int, seconds: float) -> None:
    if not _is_retryable(error):
        return
    message = f"{error} Gave up after {attempts} attempt{'s' if attempts > 1 else ''} in {seconds:.1f} s."
    if isinstance(error, PiStatusError) and error.status == 429:
        message += " Lower max_concurrency or raise RetryPolicy.total."
    error.args = (message,)
