"""Who runs jobs for the shell: an engine started beside it, or the configured service. Never a fallback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from pi_integrations.cli.engine_options import parse_price
from pi_integrations.client import AsyncPiClient
from pi_integrations.errors import PiUsageError
from pi_integrations.local import embedded

__all__ = ["JobEndpoint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEndpoint:
    """Where jobs are. `generator` or `data_dir` start an engine beside this process; otherwise a service is asked.

    Attributes:
        generator: Of the engine.
        generator_price: Of the engine's generator, `INPUT,OUTPUT`.
        judge: Of the engine.
        data_dir: Where the engine keeps its jobs.
        base_url: Of the service; None for the environment's.
    """

    generator: str | None = None
    generator_price: str | None = None
    judge: str | None = None
    data_dir: Path | None = None
    base_url: str | None = None

    def __post_init__(self) -> None:
        if self.beside and self.base_url:
            raise PiUsageError(
                "--base-url asks a service, while --generator and --data-dir start an engine here; give one of them"
            )
        if not self.beside and (self.judge or self.generator_price):
            raise PiUsageError("--judge and --generator-price are for an engine started here; give --generator too")

    @property
    def beside(self) -> bool:
        """Whether the engine is one of this process, and stops with it."""
        return bool(self.generator or self.data_dir)

    @property
    def folder(self) -> Path:
        """Where the engine beside keeps its jobs."""
        from pi_integrations.engine.jobs.settings import JobSettings

        return self.data_dir or JobSettings.from_env().data_dir

    @property
    def idle(self) -> bool:
        """Whether the engine is one of this process, and has no generator to work on jobs with."""
        from pi_integrations.engine.settings import EngineSettings

        return self.beside and self.generator is None and EngineSettings.from_env().generator is None

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncPiClient]:
        """A client, closed at the end, and with it the engine beside.

        Raises:
            PiUsageError: when nothing says where to send, or the engine does not take its options.
        """
        if self.beside:
            own = embedded(
                self.judge,
                jobs=True,
                generator=self.generator,
                generator_prices=parse_price(self.generator_price),
                data_dir=self.data_dir,
            )
            async with own as client:
                yield client
        else:
            async with _service(self.base_url) as client:
                yield client

    def flags(self) -> str:
        """The options that lead here again, for a shell; begins with a space unless it is empty."""
        given = {
            "--generator": self.generator,
            "--generator-price": self.generator_price,
            "--judge": self.judge,
            "--data-dir": self.data_dir,
            "--base-url": self.base_url,
        }
        return "".join(f" {option} {quote(str(value))}" for option, value in given.items() if value is not None)


def _service(base_url: str | None) -> AsyncPiClient:
    try:
        return AsyncPiClient(base_url=base_url)
    except PiUsageError as error:
        if "no Pi endpoint" not in str(error):
            raise
        raise PiUsageError(
            "no Pi endpoint is configured. Give --base-url (PI_CLIENT_BASE_URL) of an engine started with"
            " `pi-integrations serve`, set WITHPI_API_KEY for the hosted service, or start an engine here: --generator"
            " with `generate`, --data-dir with `jobs`"
        ) from None
