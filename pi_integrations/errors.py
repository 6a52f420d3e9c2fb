"""Every exception this package raises, as a tree that follows what a caller can do about it.

`PiError` is the root. None derives from `RuntimeError`: LlamaIndex catches that around coroutines and reports a nested
event loop instead of the real error.
"""

from __future__ import annotations

from typing import Any

__all__ = ["PiConnectionError", "PiError", "PiJobFailed", "PiResponseError", "PiStatusError", "PiUsageError"]


class PiError(Exception):
    """Anything that went wrong in this package."""


class PiUsageError(PiError, ValueError):
    """The call or the configuration is wrong: change the code or the settings, a retry cannot help."""


class PiConnectionError(PiError):
    """No whole answer came back: refused, reset, timed out, or cut off half way. Trying later may help."""


class PiResponseError(PiError):
    """A success status came with a body that is not what the API promises: check that `base_url` points at a Pi API."""


class PiStatusError(PiError):
    """The API answered with an error status.

    Attributes:
        status: HTTP status code.
        detail: The `detail` of the body, or the start of the body when it has none.
        request_id: Value of the `x-request-id` response header, if any.
        retry_after: Seconds the server asked to wait, if it did.
        should_retry: What the server said in `x-should-retry`; None when it said nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        detail: Any = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.request_id = request_id
        self.retry_after = retry_after
        self.should_retry = should_retry

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from `args`, which lack the keyword-only arguments, and fails.
        return _rebuild_status_error, (str(self), dict(self.__dict__))


class PiJobFailed(PiError):
    """A job ended in ERROR, or was cancelled while its result was waited for.

    Attributes:
        job_id: The job.
        state: `ERROR` or `CANCELLED`.
        messages: Its last message lines, oldest first.
    """

    def __init__(self, message: str, *, job_id: str, state: str, messages: list[str] | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.state = state
        self.messages = messages or []

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_job_failed, (str(self), self.job_id, self.state, self.messages)


def _rebuild_job_failed(message: str, job_id: str, state: str, messages: list[str]) -> PiJobFailed:
    return PiJobFailed(message, job_id=job_id, state=state, messages=messages)


def _rebuild_status_error(message: str, fields: dict[str, Any]) -> PiStatusError:
    """Pickle support: errors cross process boundaries in test runners and worker pools."""
    # `add_note` puts its notes into `__dict__`, beside the attributes that are arguments.
    return PiStatusError(message, **{k: v for k, v in fields.items() if k != "__notes__"})
