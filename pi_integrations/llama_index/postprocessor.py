"""`PiNodePostprocessor`: retrieved nodes filtered and ordered by a rubric."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import PrivateAttr

from pi_integrations.background import WarnOnce
from pi_integrations.background.absorbed_errors import kind_of
from pi_integrations.client import AnyClient, AsyncPiClient, PiClient, SpecScorer
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.errors import PiError, PiUsageError
from pi_integrations.llama_index.node_scores import ScoredNode
from pi_integrations.models import AggregationMethod, SpecLike
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["PiNodePostprocessor"]

logger = logging.getLogger("pi_integrations.llama_index")


class PiNodePostprocessor(BaseNodePostprocessor):
    """Scores every retrieved node against the query, drops weak ones and puts the best first.

    A node is scored as an exchange: the query is the input, the node's text the output. What comes back are copies; the
    index keeps its nodes as they were. A copy's `score` is the total in [0, 1], and its metadata holds `pi_score` (the
    same), `pi_question_scores` (by question) and `retrieval_score` (what the retriever gave it); a node that could not
    be scored holds `pi_unscored`, the reason, and keeps its score. None of these reach the language model.

    Args:
        scoring_spec: The rubric, or one question as a string.
        client: Makes the scores; its retries, limits and cache apply, and it stays open. Default: a client for the
            endpoint in the environment.
        min_score: Total in [0, 1] below which a node is dropped; default 0, which drops none.
        top_n: Nodes to keep at most; default all.
        unscored_nodes: What becomes of nodes without scores, such as images, or all of them while the service is
            down: `keep` puts them behind the scored ones, in their order (default); `drop` leaves them out. Either
            way it is logged once per kind.
        max_concurrency: Scores asked for at a time, per call; default 8.
        aggregation_method: See `scoring_system.score`.
        unscored: See `scoring_system.score`.

    Raises:
        PiUsageError: when an argument is wrong, naming it; or when no client is given and no endpoint configured.

    Example:
        ```python
        from llama_index.core.schema import NodeWithScore, TextNode
        from pi_integrations import embedded
        from pi_integrations.llama_index import PiNodePostprocessor

        nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("Repairs take a week.", "We sell bicycles.")]
        with embedded() as client:
            best = PiNodePostprocessor("Does this passage help to answer the question?", client=client, top_n=1)
            for node in best.postprocess_nodes(nodes, query_str="How long does a repair take?"):
                print(node.score, node.get_content())
        ```
    """

    min_score: float
    top_n: int | None
    unscored_nodes: Literal["keep", "drop"]
    max_concurrency: int
    _scorer: SpecScorer = PrivateAttr()
    _warn: WarnOnce = PrivateAttr()

    def __init__(
        self,
        scoring_spec: SpecLike | str,
        *,
        client: PiClient | AsyncPiClient | None = None,
        min_score: float = 0.0,
        top_n: int | None = None,
        unscored_nodes: Literal["keep", "drop"] = "keep",
        max_concurrency: int = 8,
        aggregation_method: AggregationMethod | str | None = None,
        unscored: UnscoredPolicy | None = None,
    ) -> None:
        _check(min_score, top_n, unscored_nodes, max_concurrency)
        fields: dict[str, Any] = {"min_score": min_score, "top_n": top_n, "unscored_nodes": unscored_nodes}
        fields["max_concurrency"] = max_concurrency
        super().__init__(**fields)
        spec = [{"question": scoring_spec}] if isinstance(scoring_spec, str) else scoring_spec
        scoring = AnyClient(client).asynchronous.scoring_system
        self._scorer = SpecScorer(spec, scoring, aggregation_method=aggregation_method, unscored=unscored)
        self._warn = WarnOnce(logger)

    @classmethod
    def class_name(cls) -> str:
        """Name of this postprocessor, as LlamaIndex wants it."""
        return "PiNodePostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return loop_thread().run(self._chosen(nodes, query_bundle))

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await self._chosen(nodes, query_bundle)

    async def _chosen(self, nodes: list[NodeWithScore], query: QueryBundle | None) -> list[NodeWithScore]:
        if query is None:
            raise PiUsageError("nodes are scored against a query, and there is none: give query_str or query_bundle")
        slots = asyncio.Semaphore(self.max_concurrency)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._scored(node, query.query_str, slots)) for node in nodes]
        scored = sorted((task.result() for task in tasks), key=lambda each: each.rank)
        return [each.node() for each in scored if self._is_wanted(each)][: self.top_n]

    def _is_wanted(self, scored: ScoredNode) -> bool:
        if scored.result is None:
            return self.unscored_nodes == "keep"
        return scored.result.total_score >= self.min_score

    async def _scored(self, node: NodeWithScore, query: str, slots: asyncio.Semaphore) -> ScoredNode:
        text = node.node.get_content(metadata_mode=MetadataMode.NONE)
        if not text.strip():
            return ScoredNode(node, reason="the node has no text")
        try:
            async with slots:
                return ScoredNode(node, await self._scorer.score(self._scorer.request(query, text)))
        except PiError as error:
            self._warn(kind_of(error), f"A node was not scored: {error}", error)
            return ScoredNode(node, reason=str(error))


def _check(min_score: float, top_n: int | None, unscored_nodes: str, max_concurrency: int) -> None:
    if not 0 <= min_score <= 1:
        raise PiUsageError(f"min_score is {min_score}; totals lie in [0, 1]")
    if (top_n is not None and top_n < 1) or max_concurrency < 1:
        raise PiUsageError(f"top_n is {top_n} and max_concurrency {max_concurrency}; each must be at least 1")
    if unscored_nodes not in ("keep", "drop"):
        raise PiUsageError(f"unscored_nodes is {unscored_nodes!r}; give 'keep' or 'drop'")
