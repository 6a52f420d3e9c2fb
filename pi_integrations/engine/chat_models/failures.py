"""What a provider's exception means: a reason without secrets, and whether asking again may help.

Providers are told apart by what their exceptions carry and are called, so that none has to be installed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping

__all__ = ["NoAnswer", "failure_of", "is_misread", "redacted", "shorten"]

_MAX_LENGTH = 240
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
# What reading an answer of another form than the provider's own raises, in its package or in LangChain.
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


class NoAnswer(Exception):
    """A call to a chat model gave nothing to read.

    Attributes:
        reason: Why, fit to show to a client.
        retryable: Whether asking again may help.
        detail: The provider's own words without secrets; empty when there are none.
        declined: Whether the model or its provider declined this text; another text may pass.
        too_long: Whether the text is longer than the model reads; a shorter one may pass.
        tries: How often asking may be tried in all where it may help; None for as often as patience allows.
        retry_after: Seconds the provider asked to wait, if it did.
    """

    def __init__(
        self,
        reason: str,
        *,
        retryable: bool = False,
        detail: str = "",
        declined: bool = False,
        too_long: bool = False,
        tries: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.detail = detail
        self.declined = declined
        self.too_long = too_long
        self.tries = tries
        self.retry_after = retry_after

    def turns_down(self, parameter: str) -> bool:
        """Whether the request failed for good and the provider's words name this parameter."""
        return not self.retryable and re.search(rf"\b(top_)?(?:{parameter})\b", self.detail, re.IGNORECASE) is not None


def shorten(text: str) -> str:
    """`text`, or its first 240 characters and an ellipsis."""
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """`text` on one line, its first 2,000 characters, without `secrets` and without what looks like one."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return " ".join(_SECRETS.sub("[redacted]", text[:2000]).split())


def failure_of(error: Exception, secrets: Collection[str] = (), *, who: str, reads: str) -> NoAnswer:
    """The failure that `error`, raised by a chat model, stands for.

    `who` names the model by its part, such as "judge model"; `reads` names what it was given, such as "exchange".
    """
    detail = redacted(str(error), secrets)
    status = _status(error)
    told = f"{type(error).__name__}{f' (status {status})' if status else ''}: {shorten(detail)}".rstrip(": ")
    names = " ".join(kind.__name__ for kind in type(error).__mro__).casefold()
    if "lengthfinishreason" in names:
        return NoAnswer(f"the {who}'s answer was cut off at its token limit; raise max_tokens of the chat model")
    if _is_filtered(error, status, names):
        return NoAnswer(f"the {who}'s provider stopped the answer ({told})", detail=detail, declined=True)
    if status != 429 and (_TOO_LONG.search(names) or _TOO_LONG.search(str(error))):
        reason = f"the {reads} is longer than the {who} reads; shorten it or use a model that reads more ({told})"
        return NoAnswer(reason, detail=detail, too_long=True)
    passing = _is_passing(error, status, names)
    return NoAnswer(f"the {who} failed: {told}", retryable=passing, detail=detail, retry_after=_retry_after(error))


def is_misread(error: Exception) -> bool:
    """Whether `error` is what an answer of another form than the provider's own leads to, such as one of no choices."""
    return isinstance(error, _MISREAD) and _status(error) is None and "keyword argument" not in str(error)


def _is_filtered(error: Exception, status: int | None, names: str) -> bool:
    """Whether a content filter turned the text down, by the exception's name, its codes or its words."""
    if _FILTERED_NAMES.search(names) or _FILTERED_CODES.intersection(_codes(error)):
        return True
    return status in (None, 400, 422) and _FILTERED_WORDS.search(str(error)) is not None


def _codes(error: Exception) -> Iterator[str]:
    """The codes that `error` and the body of its response carry, in lower case."""
    for field in ("code", "type"):
        if isinstance(value := getattr(error, field, None), str):
            yield value.casefold()
    yield from _codes_of_body(getattr(error, "body", None))


def _codes_of_body(body: object) -> Iterator[str]:
    if not isinstance(body, Mapping):
        return
    for field in ("code", "type"):
        if isinstance(value := body.get(field), str):
            yield value.casefold()
    for field in ("error", "innererror"):
        yield from _codes_of_body(body.get(field))


def _is_passing(error: Exception, status: int | None, names: str) -> bool:
    if "insufficient_quota" in f"{getattr(error, 'code', '')} {error}":
        return False
    if status is not None:
        return status in _RETRYABLE_STATUS or status >= 500
    if isinstance(marked := getattr(error, "is_retryable", None), bool):
        return marked
    return isinstance(error, ConnectionError | TimeoutError) or bool(_PASSING.search(names))


def _status(error: Exception) -> int | None:
    """The HTTP status that `error` carries, if any."""
    return next((value for value in _statuses(error) if 400 <= value <= 599), None)


def _statuses(error: Exception) -> Iterator[int]:
    for holder in (error, getattr(error, "response", None)):
        for field in ("status_code", "status", "http_status", "code"):
            value = getattr(holder, field, None)
            if isinstance(value, int) and not isinstance(value, bool):
                yield int(value)


def _retry_after(error: Exception) -> float | None:
    """Seconds to wait, from a `retry_after` that `error` carries or from its response's headers."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    told = getattr(error, "retry_after", None)
    if told is None and isinstance(headers, Mapping):
        told = headers.get("retry-after")
    try:
        seconds = float(told)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # none, or a date
        return None
    return seconds if 0 <= seconds < math.inf else None
