"""The endpoint, key and limits of a client, as frozen values. `from_env` alone reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import SecretStr

from pi_integrations.client.pacing import RetryPolicy
from pi_integrations.errors import PiUsageError
from pi_integrations.models.wire import HOSTED_BASE_URL, UnscoredPolicy, checked_policy

__all__ = ["ClientSettings"]


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The settings of a client.

    Attributes:
        base_url: Root of a Pi API, such as `https://api.withpi.ai/v1` or `http://localhost:8000`.
        api_key: Sent as `x-api-key`; hidden in `repr`, logs and tracebacks.
        timeout: Seconds for one attempt, from connecting to the last byte; of a job's stream, the longest silence.
        max_concurrency: Requests in flight at a time, over all threads and loops.
        retry: See `RetryPolicy`.
        unscored: Policy for questions without a usable answer: `error`, `partial`, or None for the engine's own.
        proxy: URL of an HTTP proxy, with its credentials if it needs any; hidden like the key.
    """

    base_url: str
    api_key: SecretStr | None = None
    timeout: float = 60.0
    max_concurrency: int = 32
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    unscored: UnscoredPolicy | None = None
    proxy: SecretStr | None = None

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        if not isinstance(self.timeout, int | float) or not self.timeout > 0:
            raise PiUsageError(f"timeout is {self.timeout!r}; give seconds > 0")
        if not isinstance(self.max_concurrency, int) or self.max_concurrency < 1:
            raise PiUsageError(f"max_concurrency is {self.max_concurrency!r}; it must be a whole number, at least 1")
        if not isinstance(self.retry, RetryPolicy):
            raise PiUsageError(f"retry is a {type(self.retry).__name__}; give a RetryPolicy")
        checked_policy(self.unscored)
        _check_key(self.api_key)
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **given: Any) -> ClientSettings:
        """`given` completed from `PI_CLIENT_BASE_URL` and `WITHPI_API_KEY`; the hosted service when only a key is set.

        `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are honoured.

        Raises:
            PiUsageError: when no endpoint is configured; it names the ways out.
        """
        values = {**_read(environ), **{name: value for name, value in given.items() if value is not None}}
        if "base_url" not in values and "api_key" in values:
            values["base_url"] = HOSTED_BASE_URL
        if "base_url" in values:
            _check_url(values["base_url"])
        if "base_url" in values and "proxy" not in values:
            values["proxy"] = _environment_proxy(values["base_url"])
        if "base_url" not in values:
            raise PiUsageError(
                "no Pi endpoint is configured. Set WITHPI_API_KEY for the hosted service; or set PI_CLIENT_BASE_URL (or"
                " base_url=) to an engine started with `pi-integrations serve`; or score in this process with"
                " pi_integrations.embedded(judge=...)"
            )
        return cls(**values)


def _read(environ: Mapping[str, str] | None) -> dict[str, Any]:
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    if environ.get("WITHPI_API_KEY"):
        values["api_key"] = SecretStr(environ["WITHPI_API_KEY"])
    if environ.get("PI_CLIENT_BASE_URL"):
        values["base_url"] = environ["PI_CLIENT_BASE_URL"]
    return values


def _environment_proxy(base_url: str) -> SecretStr | None:
    parts = urlsplit(base_url)
    proxy = getproxies().get(parts.scheme)
    return SecretStr(proxy) if proxy and parts.hostname and not proxy_bypass(parts.hostname) else None


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
        parts = urlsplit("")
    if "@" in parts.netloc or "@" in url:
        raise PiUsageError("base_url holds a user name or a password, which would show in errors; give api_key instead")
    if not usable or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise PiUsageError(
            f"base_url is {url!r}; give an http or https URL such as {HOSTED_BASE_URL}, without a query or a fragment"
        )


def _check_key(key: SecretStr | None) -> None:
    if key is not None and not key.get_secret_value():
        raise PiUsageError("api_key is empty; leave it out, or give the key")
    if key is not None and not (key.get_secret_value().isascii() and key.get_secret_value().isprintable()):
        raise PiUsageError("api_key holds characters that no HTTP header can carry; copy it again without line breaks")
