"""Nodes with the scores that a rubric gave them, in the order of the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.schema import NodeWithScore

from pi_integrations.models import ScoreResult

__all__ = ["NODE_METADATA", "ScoredNode"]

NODE_METADATA = ("pi_score", "pi_question_scores", "pi_unscored", "retrieval_score")
"""Metadata keys of a scored node; hidden from the language model and from embeddings."""


@dataclass(frozen=True, slots=True)
class ScoredNode:
    """A retrieved node and its scores, or the reason why it has none.

    Attributes:
        found: The node as it was retrieved.
        result: Its scores.
        reason: Why it has none.
    """

    found: NodeWithScore
    result: ScoreResult | None = None
    reason: str | None = None

    @property
    def rank(self) -> tuple[bool, float]:
        """Sort key: best first, nodes without a score last."""
        return (self.result is None, -self.result.total_score if self.result else 0.0)

    def node(self) -> NodeWithScore:
        """A copy of the node with its scores; the index's own node is not changed."""
        notes = self._notes()
        kept = self.found.node
        changes: dict[str, Any] = {
            "metadata": {**self._others(), **notes},
            "excluded_llm_metadata_keys": _with(kept.excluded_llm_metadata_keys, notes),
            "excluded_embed_metadata_keys": _with(kept.excluded_embed_metadata_keys, notes),
        }
        score = self.result.total_score if self.result else self.found.score
        return NodeWithScore(node=kept.model_copy(update=changes), score=score)

    def _notes(self) -> dict[str, Any]:
        if self.result is None:
            return {"pi_unscored": self.reason}
        questions = {each.key: each.score for each in self.result.questions()}
        notes = {"pi_score": self.result.total_score, "pi_question_scores": questions}
        is_ours = "pi_score" in self.found.node.metadata or self.found.score is None
        return notes if is_ours else {**notes, "retrieval_score": self.found.score}

    def _others(self) -> dict[str, Any]:
        """The metadata without our scores: scores of an earlier postprocessor are replaced."""
        of_scores = ("pi_score", "pi_question_scores", "pi_unscored")
        return {name: value for name, value in self.found.node.metadata.items() if name not in of_scores}


def _with(keys: Sequence[str], more: dict[str, Any]) -> list[str]:
    return [*keys, *(name for name in more if name not in keys)]
