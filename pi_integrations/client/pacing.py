"""How a client paces its requests: a limit on those under way, and when one is tried again (tenacity, configured)."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import tenacity

from pi_integrations.errors import PiConnectionError, PiError, PiStatusError, PiUsageError

__all__ = ["ConcurrencyLimiter", "Limiter", "RetryPolicy"]


class Limiter(Protocol):
    """A client takes a slot before every attempt. Write your own to share one limit between clients or processes."""

    async def acquire(self) -> None:
        """Waits for a slot; called on any loop of any thread."""
        ...

    def release(self) -> None:
        """Gives a slot back; called once for every `acquire` that returned."""
        ...


class ConcurrencyLimiter:
    """At most `limit` slots at a time, first come first served, across threads and event loops.

    `asyncio.Semaphore` binds itself to one loop, and a client is called from many.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise PiUsageError(f"max_concurrency is {limit}; it must be at least 1")
        self._limit = limit
        self._free = limit
        self._lock = threading.Lock()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        _alive.add(self)

    async def acquire(self) -> None:
        """Waits for a slot; a cancelled wait passes its slot on."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            entry = (loop, future)
            self._waiting.append(entry)
        try:
            await future
        except BaseException:
            self._give_up(entry)
            raise

    def release(self) -> None:
        """Passes the slot to the longest waiting call, or frees it."""
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            loop, future = self._waiting.popleft()
            try:
                loop.call_soon_threadsafe(_grant, self, future)
            except RuntimeError:  # that loop is closed: nobody waits there any more
                continue
            return
        self._free += 1

    def _give_up(self, entry: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]) -> None:
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif entry[1].done() and not entry[1].cancelled():
                self._pass_on()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._free = self._limit
        self._waiting.clear()


def _grant(limiter: ConcurrencyLimiter, future: asyncio.Future[None]) -> None:
    if future.done():
        limiter.release()
    else:
        future.set_result(None)


_alive: weakref.WeakSet[ConcurrencyLimiter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Slots held by the parent's threads do not exist in the child."""
    for limiter in list(_alive):
        limiter._reset()


os.register_at_fork(after_in_child=_after_fork_in_child)


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
