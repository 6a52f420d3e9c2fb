"""Who scores a file: an engine in this process when a judge is named, else the configured service. Never a fallback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pi_integrations.client import PiClient
from pi_integrations.errors import PiUsageError
from pi_integrations.local import embedded

__all__ = ["Endpoint"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where exchanges are sent.

    Attributes:
        judge: For an engine in this process; None for a service.
        base_url: Of the service; None for the environment's.
        max_concurrency: Requests in flight at a time.
        unscored: `error`, `partial`, or None for the engine's own policy.
    """

    judge: str | None = None
    base_url: str | None = None
    max_concurrency: int = 32
    unscored: str | None = None

    def __post_init__(self) -> None:
        if self.judge and self.base_url:
            raise PiUsageError("--judge scores in this process and --base-url at a service; give one of them")
        if self.unscored not in (None, "error", "partial"):
            raise PiUsageError(f"--unscored is {self.unscored!r}; give error or partial")

    @contextmanager
    def client(self) -> Iterator[PiClient]:
        """A client, closed at the end.

        Raises:
            PiUsageError: when nothing says where to send.
        """
        given: dict[str, Any] = {"max_concurrency": self.max_concurrency, "unscored": self.unscored}
        if self.judge:
            with embedded(judge=self.judge, **given) as client:
                yield client
        else:
            with _service(base_url=self.base_url, **given) as client:
                yield client


def _service(**given: Any) -> PiClient:
    try:
        return PiClient(**given)
    except PiUsageError as error:
        if "no Pi endpoint" not in str(error):
            raise
        raise PiUsageError(f"{error}. On the command line that last way is --judge, such as --judge baseline") from None
