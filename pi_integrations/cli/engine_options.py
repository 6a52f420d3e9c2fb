"""The options of `serve` and `worker`, completed from the environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from pi_integrations.errors import PiUsageError

if TYPE_CHECKING:
    from pi_integrations.engine.settings import EngineSettings

__all__ = ["EngineOptions", "parse_price", "where_jobs_are"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """One field per option; None means the environment's value, else the engine's default."""

    judge: str | None = None
    generator: str | None = None
    generator_price: str | None = None
    data_dir: Path | None = None
    database_url: str | None = None
    retention_days: float | None = None
    webhook_hosts: tuple[str, ...] = ()
    jobs: bool = True
    host: str | None = None
    port: int | None = None
    api_keys: tuple[str, ...] = ()
    unscored: str | None = None

    def settings(self) -> EngineSettings:
        """The engine's settings.

        Raises:
            PiUsageError: for wrong or contradicting options.
            ImportError: when the `engine` extra is not installed.
        """
        try:
            import uvicorn  # noqa: F401

            from pi_integrations.engine.settings import EngineSettings
        except ImportError as error:
            raise ImportError(f"an engine needs {error.name}; run: pip install 'pi-integrations[engine]'") from error
        given: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "judge": self.judge,
            "unscored": self.unscored,
            "generator": self.generator,
            "generator_prices": parse_price(self.generator_price),
            "jobs": self._jobs(),
        }
        if self.api_keys:
            given["api_keys"] = tuple(SecretStr(key) for key in self.api_keys)
        return EngineSettings.from_env(**given)

    def _jobs(self) -> Any:
        from pi_integrations.engine.jobs.settings import JobSettings

        given: dict[str, Any] = {
            "data_dir": self.data_dir,
            "database_url": SecretStr(self.database_url) if self.database_url else None,
            "retention_days": self.retention_days,
            "webhook_hosts": self.webhook_hosts or None,
        }
        if self.jobs:
            return JobSettings.from_env(**given)
        refused = [name for name, value in given.items() if value is not None]
        refused += ["generator"] if self.generator else []
        if refused:
            names = ", ".join("--" + name.removesuffix("s").replace("_", "-") for name in refused)
            raise PiUsageError(f"{names} and --no-jobs contradict each other; leave one out")
        return None


def parse_price(text: str | None) -> Mapping[str, float] | None:
    """`INPUT,OUTPUT`, US dollars per million tokens, as the engine's `generator_prices`.

    Raises:
        PiUsageError: for anything else.

    Example:
        >>> parse_price("0.4,1.6")
        {'input_per_million': 0.4, 'output_per_million': 1.6}
    """
    if text is None:
        return None
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        read = written = -1.0
    if not (0 <= read < math.inf and 0 <= written < math.inf):
        raise PiUsageError(
            f"--generator-price is {text!r}; give US dollars per million tokens as INPUT,OUTPUT, such as 0.4,1.6"
        )
    return {"input_per_million": read, "output_per_million": written}


def where_jobs_are(settings: EngineSettings) -> str:
    """Where jobs are kept and for how long, in words; a database's password is not shown."""
    if settings.jobs is None:
        return "runs no jobs"
    from sqlalchemy import make_url

    url = settings.jobs.database_url
    place = (
        make_url(url.get_secret_value()).render_as_string(hide_password=True)
        if url
        else settings.jobs.data_dir.absolute()
    )
    days = settings.jobs.retention_days
    return f"keeps jobs in {place}, " + (f"for {days:g} days after they end" if days else "for ever")
