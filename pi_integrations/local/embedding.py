"""`embedded`: a client over an engine of one's own. No account, no server to look after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pi_integrations.client.client import AsyncPiClient, PiClient
from pi_integrations.client.in_process import InProcessChannel
from pi_integrations.client.limiter import Limiter
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.client.retry import RetryPolicy
from pi_integrations.client.scoring_system import ResultCache
from pi_integrations.client.settings import ClientSettings
from pi_integrations.client.transport import Channel
from pi_integrations.errors import PiUsageError
from pi_integrations.local.beside import EngineBeside
from pi_integrations.local.job_settings import no_engine, settings_with_jobs
from pi_integrations.local.owner_key import owner_key
from pi_integrations.models.wire import UnscoredPolicy

if TYPE_CHECKING:
    from pi_integrations.engine.settings import EngineSettings

__all__ = ["Embedded", "embedded"]

_IN_PROCESS = "http://in-process"
_BESIDE = "http://engine-beside"


def embedded(
    judge: Any = None,
    *,
    jobs: bool = False,
    generator: str | None = None,
    generator_prices: Mapping[str, float] | None = None,
    data_dir: str | PathLike[str] | None = None,
    settings: EngineSettings | None = None,
    timeout: float | None = None,
    max_concurrency: int | None = None,
    retry: RetryPolicy | None = None,
    unscored: UnscoredPolicy | None = None,
    limiter: Limiter | None = None,
    cache: ResultCache | None = None,
) -> Embedded:
    """A context manager, sync and async, that gives a client over an engine of your own.

    Without `jobs`, the engine is the very app that `pi-integrations serve` serves, in this process, on the background
    loop. With `jobs`, it is a process beside this one: started here, stopped with the client, and gone when this
    process is, however it ends. Its jobs are kept, and go on with the next engine on the same `data_dir`.

    `with` gives a `PiClient`, `async with` an `AsyncPiClient`. For a client that lives as long as the process, use
    `.client()` or `.async_client()`.

    Args:
        judge: `baseline`, `chat:PROVIDER:MODEL`, `local:PATH_OR_NAME`, `object:MODULE:NAME`, a LangChain chat model, or
            a `Judge`; default: what `settings` says, else `PI_ENGINE_JUDGE`, else `baseline`. With `jobs`, a string.
        jobs: Whether the engine runs jobs.
        generator: Makes synthetic data, with `jobs`: `chat:PROVIDER:MODEL`, or `object:MODULE:NAME` of a LangChain chat
            model; default `PI_ENGINE_GENERATOR`, else none.
        generator_prices: US dollars per million tokens of the generator, as `{"input_per_million": ..,
            "output_per_million": ..}`.
        data_dir: Where jobs are kept; default `PI_ENGINE_DATA_DIR`, else `pi-integrations` in the user's data
            directory. Engines on one directory share its jobs, those of other processes too: give them the same
            generator.
        settings: Everything else about the engine; default: the environment's `PI_ENGINE_*`.
        timeout: See `AsyncPiClient`; so are the arguments after it.

    Raises:
        ImportError: when the `engine` extra, or the judge's, is not installed.
        PiUsageError: when the judge is none, or cannot be used with `jobs`.

    Example:
        ```python
        with embedded(judge="baseline") as client:
            scores = client.scoring_system.score(
                llm_input="Where is my order?",
                llm_output="It left our warehouse this morning.",
                scoring_spec=[{"question": "Does the answer say where the order is?"}],
            )
        ```
    """
    values = {"timeout": timeout, "max_concurrency": max_concurrency, "retry": retry, "unscored": unscored}
    given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if jobs:
        asked = settings_with_jobs(settings, judge, generator, generator_prices, data_dir)
        return _over_process(asked, given, limiter, cache)
    if generator is not None or generator_prices is not None or data_dir is not None:
        raise PiUsageError("generator, generator_prices and data_dir are for jobs; give jobs=True with them")
    make_app = _app_factory(judge, settings)
    client_settings = ClientSettings(base_url=_IN_PROCESS, **given)
    client = AsyncPiClient.over(lambda: InProcessChannel(make_app), client_settings, limiter=limiter, cache=cache)
    return Embedded(client)


def _app_factory(judge: Any, settings: EngineSettings | None) -> Callable[[], Any]:
    try:
        from pi_integrations.engine.app import create_app
        from pi_integrations.engine.judges.choose import choose_judge
        from pi_integrations.engine.settings import EngineSettings
    except ImportError as error:
        raise no_engine(error) from error
    settings = settings or EngineSettings.from_env()
    settings = replace(settings, judge=settings.judge if judge is None else judge, api_keys=())
    # Chosen here too, so that a wrong judge is told where it was given, not at the first request.
    choose_judge(settings.judge)
    return lambda: create_app(settings)


def _over_process(
    settings: EngineSettings, given: Mapping[str, Any], limiter: Limiter | None, cache: ResultCache | None
) -> Embedded:
    assert settings.jobs is not None
    key = owner_key(settings.jobs.data_dir)
    settings = replace(settings, host="127.0.0.1", port=0, api_keys=(key,))
    client_settings = ClientSettings(base_url=_BESIDE, api_key=key, **given)

    def connect() -> Channel:
        return EngineBeside(settings, max_connections=client_settings.max_concurrency)

    return Embedded(AsyncPiClient.over(connect, client_settings, limiter=limiter, cache=cache), beside=True)


class Embedded:
    """What `embedded` returns."""

    def __init__(self, client: AsyncPiClient, *, beside: bool = False) -> None:
        self._client = client
        self._beside = beside

    def client(self) -> PiClient:
        """The sync client, without a `with`; its engine stops with `close`, or with the process."""
        return PiClient(client=self._client)

    def async_client(self) -> AsyncPiClient:
        """The async client, without an `async with`; its engine stops with `aclose`, or with the process."""
        return self._client

    async def _start(self) -> None:
        """A process beside is started here, so that its errors are told where it was asked for."""
        if self._beside:
            await self._client._connections.run(_started)

    def __enter__(self) -> PiClient:
        loop_thread().run(self._start())
        return self.client()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client().close()

    async def __aenter__(self) -> AsyncPiClient:
        await self._start()
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


async def _started(channel: Channel) -> None:
    assert isinstance(channel, EngineBeside)
    await channel.start()
