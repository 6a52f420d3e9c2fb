"""The local front door: a client over an engine in this process. No account, no server, no port."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pi_integrations.client.cache import ResultCache
from pi_integrations.client.client import AsyncPiClient
from pi_integrations.client.in_process import InProcessChannel
from pi_integrations.client.limiter import Limiter
from pi_integrations.client.retry import RetryPolicy
from pi_integrations.client.settings import ClientSettings, UnscoredPolicy
from pi_integrations.client.sync import PiClient

if TYPE_CHECKING:
    from pi_integrations.engine.settings import EngineSettings

__all__ = ["Embedded", "embedded"]

_ADDRESS = "http://in-process"


def embedded(
    judge: Any = None,
    *,
    settings: EngineSettings | None = None,
    timeout: float | None = None,
    max_concurrency: int | None = None,
    retry: RetryPolicy | None = None,
    unscored: UnscoredPolicy | None = None,
    limiter: Limiter | None = None,
    cache: ResultCache | None = None,
) -> Embedded:
    """A context manager, sync and async, that gives a client over an engine in this process.

    It runs the very app that `pi-integrations serve` serves, on the background loop. `with` gives a `PiClient`, `async
    with` an `AsyncPiClient`. For a client that lives as long as the process, use `.client()` or `.async_client()`.

    Args:
        judge: `baseline`, `chat:PROVIDER:MODEL`, `local:PATH_OR_NAME`, a LangChain chat model, or a `Judge`; default:
            what `settings` says, else `PI_ENGINE_JUDGE`, else `baseline`.
        settings: Everything else about the engine; default: the environment's `PI_ENGINE_*`.
        timeout: See `AsyncPiClient`; so are the arguments after it.

    Raises:
        ImportError: when the `engine` extra, or the judge's, is not installed.
        PiUsageError: when the judge is none.

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
    make_app = _app_factory(judge, settings)
    values = {"timeout": timeout, "max_concurrency": max_concurrency, "retry": retry, "unscored": unscored}
    given = {name: value for name, value in values.items() if value is not None}
    client_settings = ClientSettings(base_url=_ADDRESS, **given)  # type: ignore[arg-type]
    client = AsyncPiClient.over(lambda: InProcessChannel(make_app), client_settings, limiter=limiter, cache=cache)
    return Embedded(client)


def _app_factory(judge: Any, settings: EngineSettings | None) -> Callable[[], Any]:
    try:
        from pi_integrations.engine.app import create_app
        from pi_integrations.engine.judges.choose import choose_judge
        from pi_integrations.engine.settings import EngineSettings
    except ImportError as error:
        raise ImportError(
            f"the in-process engine needs {error.name}; run: pip install 'pi-integrations[engine]'", name=error.name
        ) from error
    from dataclasses import replace

    settings = settings or EngineSettings.from_env()
    settings = replace(settings, judge=settings.judge if judge is None else judge, api_keys=())
    # Chosen here too, so that a wrong judge is told where it was given, not at the first request.
    choose_judge(settings.judge)
    return lambda: create_app(settings)


class Embedded:
    """What `embedded` returns."""

    def __init__(self, client: AsyncPiClient) -> None:
        self._client = client

    def client(self) -> PiClient:
        """The sync client, without a `with`; its engine stops with `close`, or with the process."""
        return PiClient(client=self._client)

    def async_client(self) -> AsyncPiClient:
        """The async client, without an `async with`; its engine stops with `aclose`, or with the process."""
        return self._client

    def __enter__(self) -> PiClient:
        return self.client()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client().close()

    async def __aenter__(self) -> AsyncPiClient:
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
