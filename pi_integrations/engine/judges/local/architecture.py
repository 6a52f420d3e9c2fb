"""How a model's layers look back: over everything, or over a sliding window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pi_integrations.engine.judges.local.layout import SuffixBatch
from pi_integrations.errors import PiUsageError

__all__ = ["Attention", "attention_of"]

_FULL, _SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True, slots=True)
class Attention:
    """The kinds of attention layer in a model, and the window of its sliding ones in tokens."""

    kinds: frozenset[str]
    window: int | None = None

    def mask(self, batch: SuffixBatch, dtype: torch.dtype) -> Tensor | dict[str, Tensor]:
        """The mask as the model's forward takes it: one, or one per kind of layer where the model mixes them."""
        masks = {kind: batch.additive_mask(dtype, self.window if kind == _SLIDING else None) for kind in self.kinds}
        return masks if len(masks) > 1 else next(iter(masks.values()))


def attention_of(config: Any) -> Attention:
    """The attention of the model that `config` describes.

    Raises:
        PiUsageError: It has layers that a shared prefix does not fit, such as recurrent or chunked ones.
    """
    text = config.get_text_config(decoder=True)
    window = getattr(text, "sliding_window", None)
    layers = getattr(text, "layer_types", None) or [_FULL if window is None else _SLIDING]
    others = sorted({*layers, *_odd_layers(text)} - {_FULL, _SLIDING})
    if others:
        raise PiUsageError(
            f"A {text.model_type} model has {', '.join(others)} layers, which cannot read many questions behind one "
            "prefix: use a model with ordinary or sliding-window attention (llama, qwen, mistral, gemma, gpt2 …)."
        )
    return Attention(kinds=frozenset(layers), window=window)


def _odd_layers(config: Any) -> list[str]:
    """Layers that a configuration names in its own way and that count keys instead of positions: GPT-Neo's, ALiBi."""
    local = [kind for kind in getattr(config, "attention_layers", None) or [] if kind == "local"]
    settings = (config, getattr(config, "attn_config", None))
    return local + ["ALiBi attention" for one in settings if getattr(one, "alibi", False)]
