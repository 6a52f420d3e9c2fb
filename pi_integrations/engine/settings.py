"""The operator's settings for an engine, as frozen values. `from_env` alone reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from pydantic import SecretStr

from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.engine.scoring.code_questions import CodeLimits
from pi_integrations.engine.scoring.custom_models import CustomModel
from pi_integrations.errors import PiUsageError
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["EngineSettings", "is_loopback"]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Where an engine listens, which judge and generator it has, and its limits.

    Attributes:
        host: Address `serve` binds; beyond loopback only with `api_keys`.
        port: Port `serve` binds.
        judge: `baseline`, `chat:PROVIDER:MODEL`, `local:PATH_OR_NAME`, `object:MODULE:NAME`, a LangChain chat
            model, or a `Judge`.
        api_keys: Keys that callers must send one of; none means loopback callers only.
        unscored: Default for questions without a usable answer: `error` or `partial`.
        custom_models: Sequence-classification models by the id that questions name.
        code_limits: What one code question may use.
        judge_timeout: Seconds the judge has for one exchange.
        verdict_cache_size: Verdicts kept in memory; 0 keeps none.
        max_request_bytes: Largest request body; a larger one is answered 413.
        max_in_flight: Requests in flight at a time; more are answered 429.
        jobs: Where jobs are kept; None runs no jobs. One engine a process may run them.
        generator: Makes synthetic data: `chat:PROVIDER:MODEL`, `object:MODULE:NAME` of a LangChain chat model, or a
            LangChain chat model itself; None makes none.
        generator_prices: US dollars per million tokens of the generator, as
            `{"input_per_million": .., "output_per_million": ..}`.
        generator_embeddings: LangChain embeddings, or `object:MODULE:NAME` of some: generated inputs that mean the same
            in other words are then near-duplicates too. None compares the wording alone.
        drain_seconds: How long a stopping engine waits for requests in flight.

    Example:
        >>> EngineSettings(judge="baseline", port=9000).port
        9000
    """

    host: str = "127.0.0.1"
    port: int = 8000
    judge: Any = "baseline"
    api_keys: tuple[SecretStr, ...] = ()
    unscored: UnscoredPolicy = "error"
    custom_models: Mapping[str, CustomModel] = field(default_factory=dict)
    code_limits: CodeLimits = field(default_factory=CodeLimits)
    judge_timeout: float = 120.0
    verdict_cache_size: int = 10_000
    max_request_bytes: int = 16 * 1024 * 1024
    max_in_flight: int = 512
    jobs: JobSettings | None = None
    generator: Any = None
    generator_prices: Mapping[str, float] | None = None
    generator_embeddings: Any = None
    drain_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.unscored not in ("error", "partial"):
            raise PiUsageError(f"unscored is {self.unscored!r}; give 'error' or 'partial'")
        for name in ("judge_timeout", "max_request_bytes", "max_in_flight"):
            if not getattr(self, name) > 0:
                raise PiUsageError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not (isinstance(self.port, int) and 0 <= self.port <= 65535):
            raise PiUsageError(f"port is {self.port!r}; give a number from 0 to 65535")
        if any(not key.get_secret_value().strip() for key in self.api_keys):
            raise PiUsageError("api_keys holds an empty key; remove it or give it a value")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **given: Any) -> EngineSettings:
        """`given` completed from `PI_ENGINE_HOST`, `PI_ENGINE_PORT`, `PI_ENGINE_JUDGE`, `PI_ENGINE_GENERATOR`,
        `PI_ENGINE_API_KEYS` (comma-separated) and `PI_ENGINE_UNSCORED`; `jobs` has variables of its own."""
        return cls(**{**_read(environ), **{name: value for name, value in given.items() if value is not None}})

    def check_binding(self) -> None:
        """Raises PiUsageError when the engine would listen beyond loopback without keys."""
        if not self.api_keys and not is_loopback(self.host):
            raise PiUsageError(
                f"refusing to listen on {self.host} without keys: anyone who reaches it could use the judge. Give"
                " --api-key (PI_ENGINE_API_KEYS), or bind 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without a port, is this machine itself."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _read(environ: Mapping[str, str] | None) -> dict[str, Any]:
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for name in ("host", "judge", "generator", "unscored"):
        if text := environ.get(f"PI_ENGINE_{name.upper()}"):
            values[name] = text
    if port := environ.get("PI_ENGINE_PORT"):
        if not port.isdecimal():
            raise PiUsageError(f"PI_ENGINE_PORT is {port!r}; give a number from 0 to 65535")
        values["port"] = int(port)
    if keys := environ.get("PI_ENGINE_API_KEYS"):
        values["api_keys"] = tuple(SecretStr(key.strip()) for key in keys.split(",") if key.strip())
    return values
