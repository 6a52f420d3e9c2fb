"""What is generated: items, and a job's wishes in terms that pairs and inputs share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from pi_integrations.engine.synthesis.policies import POLICIES, Policy
from pi_integrations.models.data import GenerateInputsRequest, GeneratePairsRequest
from pi_integrations.models.specs import ScoringSpec

__all__ = ["Brief", "Item", "brief_of", "well_formed"]

_MIN_SCORE = 0.5
_SURROGATES = re.compile("[\ud800-\udfff]+")


def well_formed(text: str) -> str:
    """`text` with a replacement character for each half of a surrogate pair: neither JSON nor HTTP can carry those."""
    return _SURROGATES.sub(lambda halves: halves[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace"), text)


@dataclass(frozen=True, slots=True)
class Item:
    """An input, with its response where there is one; what is no text in either is replaced."""

    llm_input: str
    llm_output: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "llm_input", well_formed(self.llm_input))
        if self.llm_output is not None:
            object.__setattr__(self, "llm_output", well_formed(self.llm_output))

    @property
    def length(self) -> int:
        """Characters of both."""
        return len(self.llm_input) + len(self.llm_output or "")

    @classmethod
    def of_row(cls, row: Any) -> Item:
        """The item of a committed row: a text, or a pair as a JSON object."""
        return cls(row) if isinstance(row, str) else cls(row["llm_input"], row["llm_output"])

    def row(self, scores: Any = None) -> Any:
        """What is committed of it."""
        if self.llm_output is None:
            return self.llm_input
        row = {"llm_input": self.llm_input, "llm_output": self.llm_output}
        return row if scores is None else {**row, "scores": scores}


@dataclass(frozen=True, slots=True)
class Brief:
    """What a job asks for.

    Attributes:
        form: What the model writes in a batch: pairs, or inputs (to which a system prompt may then respond).
        noun: What the job's owner calls an item: pair or input.
        target: How many.
        seeds: Given by the request.
        answers: The system prompt that responds to every input, if any.
    """

    form: Literal["pairs", "inputs"]
    noun: str
    target: int
    seeds: tuple[Item, ...]
    description: str | None
    answers: str | None
    batch_size: int
    num_shots: int
    policy: Policy
    parallel: bool
    max_cost_usd: float | None
    scoring_spec: ScoringSpec | None = None
    min_score: float = _MIN_SCORE


def brief_of(request: GeneratePairsRequest | GenerateInputsRequest) -> Brief:
    """What a request asks for; blank texts count as absent."""
    shared: dict[str, Any] = {
        "description": _present(request.application_description),
        "batch_size": request.batch_size,
        "num_shots": request.num_shots,
        "policy": POLICIES[request.exploration_mode],
        "parallel": request.run_parallel_batches,
        "max_cost_usd": request.max_cost_usd,
    }
    if isinstance(request, GenerateInputsRequest):
        seeds = tuple(Item(text) for text in request.seeds)
        return Brief("inputs", "input", request.num_inputs_to_generate, seeds, answers=None, **shared)
    answers = _present(request.system_prompt)
    return Brief(
        form="inputs" if answers else "pairs",
        noun="pair",
        target=request.num_pairs_to_generate,
        seeds=tuple(Item(seed.llm_input, seed.llm_output) for seed in request.seeds),
        answers=answers,
        scoring_spec=request.scoring_spec,
        min_score=_MIN_SCORE if request.min_score is None else request.min_score,
        **shared,
    )


def _present(text: str | None) -> str | None:
    return well_formed(text) if text and text.strip() else None
