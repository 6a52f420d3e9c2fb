"""What to ask about an exchange, and whom: the part that every adapter here shares."""

from __future__ import annotations

import asyncio

from pi_integrations.client import AnyClient, AsyncPiClient, PiClient, SpecScorer
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.langchain.exchange import Exchange
from pi_integrations.models import AggregationMethod, ScoreResult, SpecLike, outline
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["Scoring"]


class Scoring:
    """A checked scoring spec with the client that scores by it; sync and async, from any thread and loop.

    Args:
        scoring_spec: A list of questions, or a dimension spec.
        client: Either client; default: an `AsyncPiClient` from the environment, made at the first score.
        aggregation_method: See `scoring_system.score`.
        unscored: See `scoring_system.score`.

    Raises:
        PiUsageError: naming what is wrong with the arguments.
    """

    def __init__(
        self,
        scoring_spec: SpecLike,
        *,
        client: AsyncPiClient | PiClient | None = None,
        aggregation_method: AggregationMethod | str | None = None,
        unscored: UnscoredPolicy | None = None,
    ) -> None:
        self._client = AnyClient(client)
        self._scorer = SpecScorer(
            scoring_spec, self._client.scoring, aggregation_method=aggregation_method, unscored=unscored
        )
        self.spec = self._scorer.scoring_spec
        self.aggregation_method = self._scorer.aggregation_method
        self.unscored = self._scorer.unscored

    @property
    def client(self) -> AsyncPiClient:
        """The client; made from the environment when none was given.

        Raises:
            PiUsageError: when none was given and no endpoint is configured.
        """
        return self._client.asynchronous

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each question by its key, which is `dimension / sub-dimension` for a dimension spec."""
        return {question.key: question.weight for question in outline(self.spec)}

    async def ascore(self, exchange: Exchange) -> ScoreResult:
        """The scores of `exchange`; raises what `scoring_system.score` raises."""
        request = self._scorer.request(exchange.llm_input, exchange.llm_output, kwargs=exchange.kwargs)
        return await self._scorer.score(request)

    def score(self, exchange: Exchange) -> ScoreResult:
        """`ascore`, waited for."""
        return loop_thread().run(self.ascore(exchange))

    async def ascore_all(self, *exchanges: Exchange) -> list[ScoreResult]:
        """The scores of each, made at the same time; the first error ends them all."""
        tasks = [asyncio.ensure_future(self.ascore(exchange)) for exchange in exchanges]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def score_all(self, *exchanges: Exchange) -> list[ScoreResult]:
        """`ascore_all`, waited for."""
        return loop_thread().run(self.ascore_all(*exchanges))
