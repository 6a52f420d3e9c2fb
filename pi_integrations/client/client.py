"""The one client, async at heart; `PiClient` is the same with every call waited for.

It does not know who answers: the hosted service, an engine over HTTP, or an engine in this process. It never falls back
from one to another, since scores from another judge are other scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from pi_integrations.client.bodies import JsonReader, json_body
from pi_integrations.client.cache import ResultCache
from pi_integrations.client.calls import Calls, Outgoing
from pi_integrations.client.connections import Connections
from pi_integrations.client.limiter import ConcurrencyLimiter, Limiter
from pi_integrations.client.resources import Data, ScoringSystem
from pi_integrations.client.retry import RetryPolicy
from pi_integrations.client.settings import ClientSettings
from pi_integrations.client.shared import Shared
from pi_integrations.client.transport import Channel, HttpChannel
from pi_integrations.errors import PiResponseError
from pi_integrations.models import DimensionSpec, ScoreRequest, ScoreResult
from pi_integrations.models.wire import SCORE_PATH, UNSCORED_HEADER, UnscoredPolicy, checked_policy
from pi_integrations.telemetry import score_call

__all__ = ["AsyncPiClient"]


class AsyncPiClient(Shared):
    """A client of the Pi API.

    Use it as `async with AsyncPiClient() as client:` to keep connections on your own loop, or make one and call it from
    any loop and any thread: it then works on a background loop of its own. `aclose` when done.

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
        self._calls = Calls(settings, connections, limiter or ConcurrencyLimiter(settings.max_concurrency))
        self._cache = cache
        self.scoring_system = ScoringSystem(self)
        self.data = Data(self._calls)

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

    async def post_score(self, request: ScoreRequest, *, unscored: UnscoredPolicy | None = None) -> ScoreResult:
        """The scores of a request already built; see `scoring_system.score`."""
        policy = checked_policy(unscored) or self.settings.unscored
        body = json_body(request)
        key = self._cache_key(body, policy) if self._cache else ""
        if self._cache and (kept := self._cache.get(key)):
            return kept
        headers: dict[str, str] = {UNSCORED_HEADER: policy} if policy else {}
        outgoing = Outgoing("POST", SCORE_PATH, body, headers)
        result = await self._connections.run(lambda channel: self._post(channel, outgoing))
        _check_generation(request, result)
        if self._cache:
            self._cache.set(key, result)
        return result

    async def _post(self, channel: Channel, request: Outgoing) -> ScoreResult:
        with score_call(self.settings.base_url) as call:
            result = await self._calls.send(channel, request, _read_scores, watch=call)
            call.scored(result)
            return result

    def _cache_key(self, body: bytes, policy: str | None) -> str:
        digest = hashlib.sha256(f"{self.settings.base_url}\n{policy}\n".encode())
        digest.update(body)
        return digest.hexdigest()


def _check_generation(request: ScoreRequest, result: ScoreResult) -> None:
    dimensions = isinstance(request.scoring_spec, DimensionSpec)
    if not (result.dimension_scores if dimensions else result.question_scores):
        wanted = "dimension_scores" if dimensions else "question_scores"
        raise PiResponseError(
            f"POST {SCORE_PATH} answered without {wanted}, which this spec asks for."
            " Check that base_url points at a Pi API."
        )


_read_scores = JsonReader[ScoreResult](ScoreResult, "scores")
