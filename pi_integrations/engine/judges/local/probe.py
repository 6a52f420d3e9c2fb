"""A trial on loading: whether this model gives the same logits behind a shared prefix as it gives reading in full.

Architectures differ in how they take masks, positions and caches, and one that ignores any of them would give wrong
scores without a word. So every model is asked once, on made-up tokens, in both ways.
"""

from __future__ import annotations

from typing import Any

import torch

from pi_integrations.engine.judges.local.loading import Dtype
from pi_integrations.engine.judges.local.prefix_scoring import PrefixScorer, Prompt
from pi_integrations.errors import PiUsageError

__all__ = ["require_shared_prefix"]

# Mean difference of the logits over their standard deviation. Rounding gives 1e-6 in float32 and about 1e-2 in
# bfloat16; a mask or a position that is ignored gives tenths or more.
TOLERANCE: dict[Dtype, float] = {"float32": 1e-3, "bfloat16": 0.1}


def require_shared_prefix(scorer: PrefixScorer, model: Any, dtype: Dtype) -> None:
    """Returns when `scorer` reads `model` as the model reads by itself.

    Raises:
        PiUsageError: The logits differ, or the model refuses the cache, the mask or the positions.
    """
    kind = model.config.model_type
    try:
        difference = _difference(scorer, model, _trial(_vocabulary(model)))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise PiUsageError(
            f"A {kind} model cannot read questions behind a shared prefix ({type(error).__name__}: {error}): {_REMEDY}"
        ) from error
    if not difference <= TOLERANCE[dtype]:
        raise PiUsageError(
            f"A {kind} model gives other logits behind a shared prefix than in full (by {difference:.2g} standard "
            f"deviations): {_REMEDY}"
        )


_REMEDY = "use a model with ordinary or sliding-window attention (llama, qwen, mistral, gemma, gpt2 …)."


def _vocabulary(model: Any) -> int:
    return int(model.config.get_text_config(decoder=True).vocab_size)


def _trial(vocabulary: int) -> list[Prompt]:
    """One batch of two exchanges with prefixes and suffixes of unlike lengths."""
    short = Prompt(prefix=_tokens(11, 1, vocabulary), suffixes=(_tokens(4, 2, vocabulary), _tokens(7, 3, vocabulary)))
    long = Prompt(prefix=_tokens(19, 4, vocabulary), suffixes=(_tokens(6, 5, vocabulary),))
    return [short, long]


def _tokens(count: int, seed: int, vocabulary: int) -> tuple[int, ...]:
    """Spread over the vocabulary by a multiplier that shares no factor with most sizes (Knuth, vol. 2, §3.3.4)."""
    return tuple((2654435761 * (seed * 101 + index)) % 2**32 % vocabulary for index in range(count))


def _difference(scorer: PrefixScorer, model: Any, prompts: list[Prompt]) -> float:
    worst = 0.0
    for prompt, shared in zip(prompts, scorer.next_token_logits(prompts), strict=True):
        for suffix, logits in zip(prompt.suffixes, shared, strict=True):
            whole = _full_reading(model, (*prompt.prefix, *suffix))
            scaled = (logits.double() - whole).abs().mean() / whole.std()
            worst = max(worst, float(scaled.nan_to_num(nan=float("inf"))))
    return worst


@torch.inference_mode()
def _full_reading(model: Any, tokens: tuple[int, ...]) -> torch.Tensor:
    logits: torch.Tensor = model(torch.tensor([tokens], device=model.device), use_cache=False).logits
    return logits[0, -1].double()
