"""The two clients: `AsyncPiClient`, and `PiClient`, which runs the async one on the background loop and waits.

Neither knows who answers: the hosted service, an engine over HTTP, or an engine in this process. Neither ever falls
back from one to another, since scores from another judge are other scores.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from pi_integrations.client.calls import Calls
from pi_integrations.client.connections import Connections
from pi_integrations.client.data import Data, job_resources
from pi_integrations.client.jobs import JobResource
from pi_integrations.client.loop_thread import NotCopied, loop_thread
from pi_integrations.client.pacing import ConcurrencyLimiter, Limiter, RetryPolicy
from pi_integrations.client.result_cache import ResultCache
from pi_integrations.client.scoring_system import PostsScores, ScoringSystem
from pi_integrations.client.settings import ClientSettings
from pi_integrations.client.sync_resources import SyncData, SyncJobResource, SyncScoringSystem, sync_job_resources
from pi_integrations.client.transport import Channel, HttpChannel
from pi_integrations.errors import PiUsageError
from pi_integrations.models import ScoreRequest, ScoreResult
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["AnyClient", "AsyncPiClient", "PiClient"]

_making_a_client = threading.Lock()  # not one per AnyClient: frameworks copy what holds one, and locks cannot be copied


class AsyncPiClient(NotCopied):
    """A client of the Pi API.

    `async with AsyncPiClient() as client:` keeps its connections on your own loop. Without `async with`, one client may
    be called from any loop and any thread; its requests then run on a background loop. `aclose` it when done.

    Attributes:
        scoring_system: Scores for exchanges, and the jobs that calibrate specs.
        data: The jobs that make data.
        job_resources: The resource of every registered family of jobs, by its kind, such as `pairs`.

    Args:
        api_key: Key of the service; default `WITHPI_API_KEY`.
        base_url: Root of the service; default `PI_CLIENT_BASE_URL`, else the hosted service when a key is set.
        timeout: Seconds for one attempt; default 60.
        max_concurrency: Requests in flight at a time over all threads and loops; default 32.
        retry: When to try again; see `RetryPolicy`.
        unscored: Default for `score(unscored=...)`.
        limiter: Takes the place of `max_concurrency`, to share one limit between clients.
        cache: Keeps results; see `ResultCache`.

    Raises:
        PiUsageError: when no endpoint is configured, or a setting is out of range.

    Example:
        ```python
        async with AsyncPiClient() as client:
            scores = await client.scoring_system.score(
                llm_input="Where is my order?",
                llm_output="It left our warehouse this morning.",
                scoring_spec=[{"question": "Does the answer say where the order is?"}],
            )
            print(scores.total_score)
        ```
    """

    def __init__(
        self,
        *,
        api_key: str | SecretStr | None = None,
        base_url: str | None = None,
        timeout: float | None = None,
        max_concurrency: int | None = None,
        retry: RetryPolicy | None = None,
        unscored: UnscoredPolicy | None = None,
        limiter: Limiter | None = None,
        cache: ResultCache | None = None,
    ) -> None:
        settings = ClientSettings.from_env(
            api_key=SecretStr(api_key) if isinstance(api_key, str) else api_key,
            base_url=base_url,
            timeout=timeout,
            max_concurrency=max_concurrency,
            retry=retry,
            unscored=unscored,
        )

        def connect() -> Channel:
            proxy = settings.proxy.get_secret_value() if settings.proxy else None
            return HttpChannel(settings.base_url, max_connections=settings.max_concurrency, proxy=proxy)

        self._set_up(settings, Connections(connect), limiter, cache)

    @classmethod
    def over(
        cls,
        connect: Callable[[], Channel],
        settings: ClientSettings,
        *,
        limiter: Limiter | None = None,
        cache: ResultCache | None = None,
    ) -> Self:
        """A client whose requests go through channels made by `connect`, on the background loop."""
        client = cls.__new__(cls)
        client._set_up(settings, Connections(connect, bindable=False), limiter, cache)
        return client

    def _set_up(
        self, settings: ClientSettings, connections: Connections, limiter: Limiter | None, cache: ResultCache | None
    ) -> None:
        self.settings = settings
        self._connections = connections
        calls = Calls(settings, connections, limiter or ConcurrencyLimiter(settings.max_concurrency))
        self.scoring_system = ScoringSystem(calls, cache)
        self.data = Data(calls)
        self.job_resources: Mapping[str, JobResource[Any, Any, Any]] = job_resources(
            calls, *self.data.families, *self.scoring_system.families
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.settings.base_url!r})"

    async def __aenter__(self) -> Self:
        self._connections.bind()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.unbind()

    async def aclose(self) -> None:
        """Closes the background connections; a later call opens them anew."""
        await self._connections.close_shared()


class PiClient(NotCopied):
    """The client for synchronous code; takes the arguments of `AsyncPiClient`.

    Example:
        ```python
        with PiClient() as client:
            scores = client.scoring_system.score(
                llm_input="Where is my order?",
                llm_output="It left our warehouse this morning.",
                scoring_spec=[{"question": "Does the answer say where the order is?"}],
            )
        ```
    """

    def __init__(self, *args: Any, client: AsyncPiClient | None = None, **kwargs: Any) -> None:
        self._async = client or AsyncPiClient(*args, **kwargs)
        self.settings = self._async.settings
        self.scoring_system = SyncScoringSystem(self._async.scoring_system)
        self.data = SyncData(self._async.data)
        self.job_resources: Mapping[str, SyncJobResource[Any, Any]] = sync_job_resources(
            self._async.job_resources, *self.data.families, *self.scoring_system.families
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.settings.base_url!r})"

    @property
    def asynchronous(self) -> AsyncPiClient:
        """The async client behind this one; both may be used at the same time."""
        return self._async

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; a later call opens them anew."""
        loop_thread().run(self._async.aclose())


class AnyClient:
    """The async client of a component: behind the client it was given, else one for the endpoint in the environment.

    Raises:
        PiUsageError: when `client` is something else.
    """

    def __init__(self, client: PiClient | AsyncPiClient | None) -> None:
        if not isinstance(client, PiClient | AsyncPiClient | None):
            raise PiUsageError(f"client is a {type(client).__name__}; give a PiClient or an AsyncPiClient")
        self._async = client.asynchronous if isinstance(client, PiClient) else client

    @property
    def asynchronous(self) -> AsyncPiClient:
        """The client; without one given, made when first needed.

        Raises:
            PiUsageError: when none was given and no endpoint is configured.
        """
        if self._async is None:
            with _making_a_client:
                self._async = self._async or AsyncPiClient()
        return self._async

    @property
    def scoring(self) -> PostsScores:
        """The scoring system of the client; of one that is still to be made, this object in its place."""
        return self._async.scoring_system if self._async is not None else self

    async def post_score(self, request: ScoreRequest, *, unscored: UnscoredPolicy | None = None) -> ScoreResult:
        """See `ScoringSystem.post_score`."""
        return await self.asynchronous.scoring_system.post_score(request, unscored=unscored)
