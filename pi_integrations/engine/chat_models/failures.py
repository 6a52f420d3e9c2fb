"""Failures of a provider: a reason without secrets, whether asking again may help, and the waiting until it does.

Providers are distinguished by the names and attributes of their exceptions, so that none has to be installed.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import tenacity

__all__ = [
    "LIMIT_PARAMETERS",
    "REQUEST_PARAMETERS",
    "NoAnswer",
    "Patience",
    "failure_of",
    "redacted",
    "shorten",
    "side_by_side",
]

T = TypeVar("T")
LIMIT_PARAMETERS = r"max\w*_?tokens|num_predict"
"""What providers call the limit on an answer's tokens, as a pattern."""
REQUEST_PARAMETERS = rf"temperature|(top_)?logprobs|{LIMIT_PARAMETERS}"
"""What a request sets and a provider may not accept; a request turned down for one costs nothing."""

_MAX_LENGTH = 240
_MAX_WAIT = 60.0
_TRIES_OF_MISREAD = 4
_RETRYABLE_STATUS = {408, 409, 425, 429}
_PASSING = re.compile(
    r"timeout|timedout|ratelimit|toomanyrequests|throttl|overloaded|unavailable|internalserver|resourceexhausted"
    r"|connection|connecterror|remoteprotocol|readerror|gaierror"
)
_FILTERED_NAMES = re.compile(r"contentfilter|contentpolicy|blockedprompt")
_FILTERED_CODES = {
    *("content_filter", "content_filtered", "content_policy_violation", "responsibleaipolicyviolation"),
    *("invalid_prompt", "moderation_blocked", "data_inspection_failed"),
}
# Providers whose codes do not tell a filtered prompt from other bad requests say so in words.
_FILTERED_WORDS = re.compile(
    r"content management policy|content filtering policy|violating our usage policy", re.IGNORECASE
)
# What reading a body of another form than the provider's own raises, in its package or in LangChain.
_MISREAD = (AttributeError, LookupError, TypeError, ValueError)
_TOO_LONG = re.compile(
    r"context[ _]?length|context[ _]window|contextoverflow|contextwindowexceeded|maximum context"
    r"|(prompt|input|request)( is|_is)? too (long|large)|exceeds? the (maximum|max)[\w ]* tokens",
    re.IGNORECASE,
)
_SECRETS = re.compile(
    r"""(?x)
    \b(?:sk|pk|rk|gsk|xai|hf|pplx|key|AIza)[-_]?[A-Za-z0-9_\-*]{8,}          # keys that say so
    | \b(?:Bearer|Basic)\s+\S+                                              # authorization headers
    | \b(?:x-)?api[-_ ]?(?:key|token)[\w ]{0,20}["']?\s*[:=]\s*["']?[^\s"',]+  # api_key=...
    | (?<=://)[^\s/@]+@                                                     # user:password@host
    | (?<=[?&])(?:key|token|api_key|access_token|sig)=[^\s&"']+               # ...?key=...
    | \b(?=[\w\-]*\d)(?=[\w\-]*[A-Za-z])[\w\-]{32,}                            # anything else that long and mixed
    """,
    re.IGNORECASE,
)
# Not the module's generator: an application that seeds that one gets the numbers it expects.
_jitter = random.Random()


@dataclass(eq=False)
class NoAnswer(Exception):
    """A request to a model brought no answer.

    Attributes:
        reason: Why, fit to show to a client.
        retryable: Whether asking again may help.
        detail: The provider's own words without secrets; empty when there are none.
        declined: Whether the model or its provider declined this text; another text may pass.
        too_long: Whether the text is longer than the model reads; a shorter one may pass.
        tries: The most tries where asking again may help; None for as many as patience allows.
        retry_after: Seconds the provider asked to wait, if it did.
    """

    reason: str
    retryable: bool = False
    detail: str = ""
    declined: bool = False
    too_long: bool = False
    tries: int | None = None
    retry_after: float | None = None

    def turns_down(self, parameters: str) -> bool:
        """Whether the request failed for good and the provider's words name a parameter that this pattern matches."""
        return not self.retryable and re.search(rf"\b(?:{parameters})\b", self.detail, re.IGNORECASE) is not None


class Patience:
    """Tries again after failures that say `retryable`: exponential waits with jitter, or the wait the failure asks for.

    Args:
        seconds: From the first try on; a wait that would pass them is not begun, and the last failure is raised.
        first_wait: Seconds before the second try, doubled for each one after, up to a minute.
    """

    def __init__(self, seconds: float, first_wait: float) -> None:
        self.seconds = seconds
        self._first_wait = first_wait

    async def wait_out(
        self, call: Callable[[], Awaitable[T]], waiting: Callable[[BaseException, float], Awaitable[None]]
    ) -> T:
        """What `call` returns, after as many tries as it takes.

        `waiting` is called before each wait, with the failure and the seconds.
        """

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

    def given_up(self, failure: NoAnswer) -> str:
        """Why waiting did not help."""
        if failure.retry_after is not None and failure.retry_after > self.seconds:
            return (
                f"The provider asks to wait for {failure.retry_after:g} s, and a job waits for {self.seconds:g} s at "
                "most"
            )
        tries = "" if failure.tries is None else f"in {failure.tries} tries, or "
        return f"It did not recover {tries}within {self.seconds:g} s"

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        tries = getattr(_failure(state), "tries", None)
        return tenacity.stop_before_delay(self.seconds)(state) or (tries is not None and state.attempt_number >= tries)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        asked: float | None = getattr(_failure(state), "retry_after", None)
        if asked is not None:
            # Never sooner than asked, and not all callers at the same moment.
            return asked * _jitter.uniform(1.0, 1.1) + _jitter.uniform(0, self._first_wait)
        # The exponent has a limit because a power of floats overflows instead of becoming infinite.
        ceiling = min(_MAX_WAIT, self._first_wait * 2.0 ** min(state.attempt_number - 1, 16))
        return ceiling * _jitter.uniform(0.5, 1.0)


def _failure(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def shorten(text: str) -> str:
    """`text`, or its first 240 characters and an ellipsis."""
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """`text` on one line, its first 2,000 characters, without `secrets` and without what looks like one."""
    # Before the text is cut, which may leave a part of a secret that is not found any more.
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return " ".join(_SECRETS.sub("[redacted]", text[:2000]).split())


def failure_of(error: Exception, secrets: Collection[str] = (), *, who: str, reads: str) -> NoAnswer:
    """The failure that `error`, raised by a model, stands for.

    `who` names the model by its part, such as "judge model"; `reads` names what it reads, such as "exchange".
    """
    detail = redacted(str(error), secrets)
    status = _status(error)
    shown = f"{type(error).__name__}{f' (status {status})' if status else ''}: {shorten(detail)}".rstrip(": ")
    names = " ".join(kind.__name__ for kind in type(error).__mro__).casefold()
    if "lengthfinishreason" in names:
        return NoAnswer(f"the {who}'s answer was cut off at its token limit; raise max_tokens of the chat model")
    if _is_filtered(error, status, names):
        return NoAnswer(f"the {who}'s provider stopped the answer ({shown})", detail=detail, declined=True)
    # Rate limits on tokens speak of requests that are too large as well, but those pass.
    if status != 429 and (_TOO_LONG.search(names) or _TOO_LONG.search(str(error))):
        reason = f"the {reads} is longer than the {who} reads; shorten it or use a model that reads more ({shown})"
        return NoAnswer(reason, detail=detail, too_long=True)
    reason, passing = f"the {who} failed: {shown}", _is_passing(error, status, names)
    failure = NoAnswer(reason, retryable=passing, detail=detail, retry_after=_retry_after(error))
    if passing or not _is_misread(error, status) or failure.turns_down(REQUEST_PARAMETERS):
        return failure
    reason = f"{reason} (its provider sent an answer of a form that cannot be read)"
    return NoAnswer(reason, retryable=True, tries=_TRIES_OF_MISREAD, detail=detail)


def _is_misread(error: Exception, status: int | None) -> bool:
    """Whether `error` is what a body of another form than the provider's own leads to, such as one of no choices."""
    # A setting that the package does not know is a TypeError as well, and will be one every time.
    return isinstance(error, _MISREAD) and status is None and "keyword argument" not in str(error)


def _is_filtered(error: Exception, status: int | None, names: str) -> bool:
    """Whether a content filter turned the text down, by the exception's name, its codes or its words."""
    if _FILTERED_NAMES.search(names) or _FILTERED_CODES.intersection(_codes(error)):
        return True
    return status in (None, 400, 422) and _FILTERED_WORDS.search(str(error)) is not None


def _codes(holder: object) -> Iterator[str]:
    """The codes that an exception and the body of its response carry, in lower case."""
    for field in ("code", "type"):
        value = holder.get(field) if isinstance(holder, Mapping) else getattr(holder, field, None)
        if isinstance(value, str):
            yield value.casefold()
    if not isinstance(holder, Mapping):
        inner = [getattr(holder, "body", None)]
    else:
        inner = [holder.get("error"), holder.get("innererror")]
    for body in inner:
        if isinstance(body, Mapping):
            yield from _codes(body)


def _is_passing(error: Exception, status: int | None, names: str) -> bool:
    # OpenAI sends a 429 for an account without credit too, and no waiting fills it.
    if "insufficient_quota" in f"{getattr(error, 'code', '')} {error}":
        return False
    if status is not None:
        return status in _RETRYABLE_STATUS or status >= 500
    if isinstance(marked := getattr(error, "is_retryable", None), bool):
        return marked
    return isinstance(error, ConnectionError | TimeoutError) or bool(_PASSING.search(names))


def _status(error: Exception) -> int | None:
    """The HTTP status that `error` carries, if any."""
    for holder in (error, getattr(error, "response", None)):
        for field in ("status_code", "status", "http_status", "code"):
            value = getattr(holder, field, None)
            if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
                return int(value)
    return None


def _retry_after(error: Exception) -> float | None:
    """Seconds to wait, from a `retry_after` that `error` carries or from its response's headers."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    asked = getattr(error, "retry_after", None)
    if asked is None and isinstance(headers, Mapping):
        asked = headers.get("retry-after")
    try:
        seconds = float(asked)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # none, or a date
        return None
    return seconds if 0 <= seconds < math.inf else None


async def side_by_side(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What each call returns, in order; the first failure ends the others and is raised itself."""
    failed: BaseException
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* Exception as errors:  # noqa: BLE001 - raised below
        # Raised here, it would be wrapped in a group again.
        failed = errors.exceptions[0]
    else:
        return [task.result() for task in tasks]
    raise failed
