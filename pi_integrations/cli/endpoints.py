"""Endpoints of the shell: an engine started here when an option says so, else the configured service. No fallback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from pi_integrations.cli.engine_options import parse_price
from pi_integrations.client import AsyncPiClient, PiClient
from pi_integrations.errors import PiUsageError
from pi_integrations.local import embedded

__all__ = ["JobEndpoint", "ScoreEndpoint"]


@dataclass(frozen=True, slots=True)
class ScoreEndpoint:
    """The endpoint that scores.

    Attributes:
        judge: Judge of an engine in this process; None for a service.
        base_url: Root of the service; None for the environment's.
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
            PiUsageError: when no endpoint is configured.
        """
        settings: dict[str, Any] = {"max_concurrency": self.max_concurrency, "unscored": self.unscored}
        source: AbstractContextManager[PiClient] = (
            embedded(judge=self.judge, **settings) if self.judge else self._service(settings)
        )
        with source as client:
            yield client

    def _service(self, settings: Mapping[str, Any]) -> PiClient:
        try:
            return PiClient(base_url=self.base_url, **settings)
        except PiUsageError as error:
            # Worded so in client/settings.py.
            if "no Pi endpoint" not in str(error):
                raise
            raise PiUsageError(
                f"{error}. On the command line that last way is --judge, such as --judge baseline"
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEndpoint:
    """The endpoint of jobs: an engine started here with `generator` or `data_dir`, else a service.

    Attributes:
        generator: Generator of the engine.
        generator_price: Price of the generator, `INPUT,OUTPUT`.
        judge: Judge of the engine.
        data_dir: Folder in which the engine keeps its jobs.
        base_url: Root of the service; None for the environment's.
    """

    generator: str | None = None
    generator_price: str | None = None
    judge: str | None = None
    data_dir: Path | None = None
    base_url: str | None = None

    def __post_init__(self) -> None:
        if self.starts_engine and self.base_url:
            raise PiUsageError(
                "--base-url asks a service, while --generator and --data-dir start an engine here; give one of them"
            )
        if not self.starts_engine and (self.judge or self.generator_price):
            raise PiUsageError("--judge and --generator-price are for an engine started here; give --generator too")

    @property
    def starts_engine(self) -> bool:
        """Whether an engine is started here, which stops with this process."""
        return bool(self.generator or self.data_dir)

    @property
    def job_folder(self) -> Path:
        """The folder in which the engine started here keeps its jobs."""
        from pi_integrations.engine.jobs.settings import JobSettings

        return self.data_dir or JobSettings.from_env().data_dir

    @property
    def lacks_generator(self) -> bool:
        """Whether an engine is started here without a generator."""
        from pi_integrations.engine.settings import EngineSettings

        return self.starts_engine and self.generator is None and EngineSettings.from_env().generator is None

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncPiClient]:
        """A client, closed at the end together with the engine started for it.

        Raises:
            PiUsageError: when no endpoint is configured, or the engine refuses its options.
        """
        source = self._engine() if self.starts_engine else self._service()
        async with source as client:
            yield client

    def _engine(self) -> AbstractAsyncContextManager[AsyncPiClient]:
        return embedded(
            self.judge,
            jobs=True,
            generator=self.generator,
            generator_prices=parse_price(self.generator_price),
            data_dir=self.data_dir,
        )

    def _service(self) -> AsyncPiClient:
        try:
            return AsyncPiClient(base_url=self.base_url)
        except PiUsageError as error:
            if "no Pi endpoint" not in str(error):
                raise
            raise PiUsageError(
                "no Pi endpoint is configured. Give --base-url (PI_CLIENT_BASE_URL) of an engine started with"
                " `pi-integrations serve`, set WITHPI_API_KEY for the hosted service, or start an engine here:"
                " --generator with `generate`, --data-dir with `jobs`"
            ) from None

    def options(self) -> str:
        """The same endpoint as options of a command, quoted for a shell; begins with a space unless it is empty."""
        given = {
            "--generator": self.generator,
            "--generator-price": self.generator_price,
            "--judge": self.judge,
            "--data-dir": self.data_dir,
            "--base-url": self.base_url,
        }
        return "".join(f" {option} {quote(str(value))}" for option, value in given.items() if value is not None)
