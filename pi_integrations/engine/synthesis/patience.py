"""Waiting out failures that pass by themselves."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import tenacity

__all__ = ["Patience", "Waiting"]

T = TypeVar("T")
Waiting = Callable[[BaseException, float], Awaitable[None]]
"""Told of a failure that may pass, and of the seconds that are waited before the next try."""

_LONGEST = 60.0
# A generator of our own: an application's seeded random numbers are not ours to draw from.
_jitter = random.Random()


class Patience:
    """Calls again after failures that say `retryable`: exponential waits with jitter, or the wait the failure asks for.
    A failure with `tries` is tried so often at most.

    Args:
        seconds: From the first try on; a wait that would pass them is not begun, and the last failure is raised.
        first_wait: Seconds before the second try, doubled for each one after, up to a minute.
    """

    def __init__(self, seconds: float, first_wait: float) -> None:
        self.seconds = seconds
        self._first_wait = first_wait

    async def wait_out(self, call: Callable[[], Awaitable[T]], waiting: Waiting) -> T:
        """What `call` returns, sooner or later."""

        async def once() -> T:
            return await call()

        async def before_sleep(state: tenacity.RetryCallState) -> None:
            if (failure := _failure(state)) is not None:
                await waiting(failure, state.upcoming_sleep)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: getattr(error, "retryable", False) is True),
            wait=self._wait,
            stop=self._is_over,
            before_sleep=before_sleep,
            reraise=True,
        )
        return await retrying(once)

    def given_up(self, failure: BaseException) -> str:
        """Why a failure was not waited out."""
        asked, tries = getattr(failure, "retry_after", None), getattr(failure, "tries", None)
        if asked is not None and asked > self.seconds:
            return f"The provider asks to wait for {asked:g} s, and a job waits for {self.seconds:g} s at most"
        if tries is not None:
            return f"It did not pass in {tries} tries, or within {self.seconds:g} s"
        return f"It did not pass within {self.seconds:g} s"

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        tries = getattr(_failure(state), "tries", None)
        return tenacity.stop_before_delay(self.seconds)(state) or (tries is not None and state.attempt_number >= tries)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        asked: Any = getattr(_failure(state), "retry_after", None)
        if asked is not None:
            # Never sooner than asked, and not everybody at the same moment.
            return float(asked * _jitter.uniform(1.0, 1.1) + _jitter.uniform(0, self._first_wait))
        ceiling = min(_LONGEST, self._first_wait * 2 ** min(state.attempt_number - 1, 16))
        return float(ceiling * _jitter.uniform(0.5, 1.0))


def _failure(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
