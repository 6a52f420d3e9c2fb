"""Generated items, the request for them, and what its exploration mode means in numbers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from pi_integrations.models.data import ExplorationMode, GenerateInputsRequest, GeneratePairsRequest
from pi_integrations.models.specs import ScoringSpec

__all__ = ["POLICIES", "GenerationRequest", "Item", "Policy", "may_be_item", "read_item", "well_formed"]

_MIN_SCORE = 0.5
_HIGHEST_TEMPERATURE = 1.43
_MOST_ABOVE_FIRST = 0.43
_RISE = 0.08
_FALL = 0.02
_SURROGATES = re.compile("[\ud800-\udfff]+")


def well_formed(text: str) -> str:
    """`text` with a replacement character for each half of a surrogate pair: neither JSON nor HTTP can carry those."""
    return _SURROGATES.sub(lambda halves: halves[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace"), text)


@dataclass(frozen=True, slots=True)
class Item:
    """An input, with its response where there is one; both are made well-formed."""

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
        """The row to commit: a text, or a pair with its scores where there are any."""
        if self.llm_output is None:
            return self.llm_input
        row = {"llm_input": self.llm_input, "llm_output": self.llm_output}
        return row if scores is None else {**row, "scores": scores}


@dataclass(frozen=True, slots=True)
class Policy:
    """How far batches stray from the seeds.

    Attributes:
        temperature: Sampling temperature of the first batch.
        theme_probability: Probability that a batch is given a theme, 0 to 1.
        seed_share: Share of a batch's examples that are seeds; the rest are accepted items.
        near_share: Share of the accepted items that may be examples, those nearest to the seeds first.
        advice: The sentence that tells the model how far to go.
    """

    temperature: float
    theme_probability: float
    seed_share: float
    near_share: float
    advice: str

    def next_temperature(self, last: float, similar_share: float) -> float:
        """The temperature after a batch at `last` of which `similar_share`, 0 to 1, resembled accepted items.

        It rises by at most .08 with that share, and falls by .02 after a batch without any; it stays between the first
        temperature and .43 above that, and never passes 1.43.
        """
        moved = last + _RISE * similar_share if similar_share else last - _FALL
        highest = min(self.temperature + _MOST_ABOVE_FIRST, _HIGHEST_TEMPERATURE)
        return round(min(max(moved, self.temperature), highest), 4)


POLICIES = {
    ExplorationMode.CONSERVATIVE: Policy(
        temperature=0.7,
        theme_probability=0.0,
        seed_share=0.8,
        near_share=0.25,
        advice="Stay close to the examples in subject, form and length.",
    ),
    ExplorationMode.BALANCED: Policy(
        temperature=1.0,
        theme_probability=0.5,
        seed_share=0.6,
        near_share=0.5,
        advice="Keep the spirit of the examples and vary subject, wording and length.",
    ),
    ExplorationMode.CREATIVE: Policy(
        temperature=1.15,
        theme_probability=0.75,
        seed_share=0.4,
        near_share=0.75,
        advice="Go beyond the examples: other subjects, other people asking, other difficulty.",
    ),
    ExplorationMode.ADVENTUROUS: Policy(
        temperature=1.3,
        theme_probability=1.0,
        seed_share=0.2,
        near_share=1.0,
        advice="Be bold: look for unusual yet believable uses that the examples do not hint at.",
    ),
}
"""The policy of each mode."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A request for pairs or for inputs, in terms that both share.

    Attributes:
        form: What the model writes in a batch: pairs, or inputs (to which a system prompt may then respond).
        noun: The user's word for an item: pair or input.
        wanted: How many items to make.
        seeds: Items to start from.
        system_prompt: The application's system prompt, which responds to every input, if any.
    """

    form: Literal["pairs", "inputs"]
    noun: str
    wanted: int
    seeds: tuple[Item, ...]
    description: str | None
    system_prompt: str | None
    batch_size: int
    num_shots: int
    policy: Policy
    parallel: bool
    max_cost_usd: float | None
    scoring_spec: ScoringSpec | None = None
    min_score: float = _MIN_SCORE

    @classmethod
    def of(cls, request: GenerateInputsRequest | GeneratePairsRequest) -> GenerationRequest:
        """The request of the wire in these terms; blank texts count as absent."""
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
            return cls("inputs", "input", request.num_inputs_to_generate, seeds, system_prompt=None, **shared)
        system_prompt = _present(request.system_prompt)
        return cls(
            form="inputs" if system_prompt else "pairs",
            noun="pair",
            wanted=request.num_pairs_to_generate,
            seeds=tuple(Item(seed.llm_input, seed.llm_output) for seed in request.seeds),
            system_prompt=system_prompt,
            scoring_spec=request.scoring_spec,
            min_score=_MIN_SCORE if request.min_score is None else request.min_score,
            **shared,
        )


def _present(text: str | None) -> str | None:
    return well_formed(text) if text and text.strip() else None


def may_be_item(value: Any) -> bool:
    """Whether an element looks like an item, as `read_item` takes it."""
    return "llm_input" in value if isinstance(value, dict) else isinstance(value, str) and bool(value.strip())


def read_item(value: Any, form: str) -> Item | None:
    """The item that an element stands for; None when it is none, or when a text is blank.

    Numbers, booleans, lists and objects in the place of a text count as their JSON: an application that classifies or
    calculates answers so.
    """
    if isinstance(value, str) and form == "inputs":
        return Item(value.strip()) if value.strip() else None
    if not isinstance(value, dict):
        return None
    texts = [_text(value.get(name)) for name in ("llm_input", "llm_output")]
    if form == "inputs":
        return Item(texts[0]) if texts[0] else None
    return Item(texts[0], texts[1]) if texts[0] and texts[1] else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
