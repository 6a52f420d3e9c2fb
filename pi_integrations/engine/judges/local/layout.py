"""The layout of questions behind a shared prefix: a row's suffixes side by side, each blind to the others.

A row is one exchange. Its suffixes are packed into one sequence, each starting at the position where the prefix ends,
and the mask lets a token see its prefix and its own suffix only, so the cached prefix is never copied per question. The
k-th suffixes of all rows share a slot as wide as the longest of them, padded on the left: the slot's last token, where
the answer is read, then has the same index in all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from typing import Any

import torch
from torch import Tensor

from pi_integrations.errors import PiUsageError

__all__ = ["Attention", "Suffix", "SuffixBatch", "attention_of", "pack_suffixes", "slot_widths"]

Suffix = tuple[int, ...]

_FULL, _SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True, slots=True)
class SuffixBatch:
    """Suffixes of B rows in K slots, S tokens a row, behind prefixes padded on the right to P tokens.

    Attributes:
        input_ids: Token ids, [B, S].
        ends: Index of the last token of each slot, [K].
        query_positions: Position of each suffix token in its own text, [B, S].
        key_positions: Position of each cached and each suffix token in its own text, [B, P + S].
        visible: Whether a suffix token sees a key, [B, S, P + S].
    """

    input_ids: Tensor
    ends: Tensor
    query_positions: Tensor
    key_positions: Tensor
    visible: Tensor

    def additive_mask(self, dtype: torch.dtype, window: int | None = None) -> Tensor:
        """0 where a token sees a key and the lowest number where it does not, [B, 1, S, P + S].

        Args:
            dtype: Type of the model's activations.
            window: Tokens that a sliding-window layer looks back over, its own included; None for all.
        """
        visible = self.visible
        if window is not None:
            distance = self.query_positions[:, :, None] - self.key_positions[:, None, :]
            visible = visible & (distance < window)
        mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]


def slot_widths(rows: Sequence[Sequence[Suffix]]) -> list[int]:
    """Tokens in each slot: the longest k-th suffix of any row."""
    return [max(len(suffix) for suffix in slot) for slot in zip_longest(*rows, fillvalue=())]


def pack_suffixes(
    rows: Sequence[Sequence[Suffix]], prefix_lengths: Sequence[int], device: torch.device | str
) -> SuffixBatch:
    """Lays out `rows`, the suffixes of each exchange, behind prefixes of `prefix_lengths` tokens.

    A row with fewer suffixes than others has empty slots, whose answers mean nothing.
    """
    widths = slot_widths(rows)
    ids = torch.tensor([_row_ids(row, widths) for row in rows])
    lengths = torch.tensor([[len(row[k]) if k < len(row) else 0 for k in range(len(widths))] for row in rows])
    prefix = torch.tensor(prefix_lengths)[:, None]
    offsets, slots = _offsets(lengths, torch.tensor(widths))
    positions = prefix + offsets.clamp(min=0)
    cached = torch.arange(max(prefix_lengths)).expand(len(rows), -1)
    visible = torch.cat([_sees_prefix(cached, prefix, ids.shape[1]), _sees_suffix(offsets, slots)], dim=2)
    batch = (ids, torch.tensor(list(accumulate(widths))) - 1, positions, torch.cat([cached, positions], dim=1), visible)
    return SuffixBatch(*(tensor.to(device) for tensor in batch))


def _row_ids(row: Sequence[Suffix], widths: Sequence[int]) -> list[int]:
    padded: list[int] = []
    for slot, width in enumerate(widths):
        suffix = row[slot] if slot < len(row) else ()
        padded += [0] * (width - len(suffix)) + list(suffix)
    return padded


def _offsets(lengths: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
    """For each token its index in its own suffix, negative for padding, [B, S]; and its slot, [S]."""
    slots = torch.repeat_interleave(torch.arange(len(widths)), widths)
    begins = torch.cumsum(widths, 0) - widths
    within = torch.arange(len(slots)) - begins[slots]
    return within - (widths - lengths)[:, slots], slots


def _sees_prefix(cached: Tensor, prefix: Tensor, suffix_tokens: int) -> Tensor:
    return (cached < prefix)[:, None, :].expand(-1, suffix_tokens, -1)


def _sees_suffix(offsets: Tensor, slots: Tensor) -> Tensor:
    """The tokens before it in its own suffix and itself; padding sees itself, since a token must see something."""
    index = torch.arange(len(slots))
    earlier = (slots[:, None] == slots[None, :]) & (index[:, None] >= index[None, :])
    real = (offsets >= 0)[:, None, :]
    return (earlier & real) | torch.eye(len(slots), dtype=torch.bool)


@dataclass(frozen=True, slots=True)
class Attention:
    """The kinds of attention layers in a model, and the window of the sliding ones, in tokens."""

    kinds: frozenset[str]
    window: int | None = None

    def mask(self, batch: SuffixBatch, dtype: torch.dtype) -> Tensor | dict[str, Tensor]:
        """The mask for the model's forward: a tensor, or one per kind of layer where the model mixes them."""
        masks = {kind: batch.additive_mask(dtype, self.window if kind == _SLIDING else None) for kind in self.kinds}
        return masks if len(masks) > 1 else next(iter(masks.values()))


def attention_of(config: Any) -> Attention:
    """The attention of the model that `config` describes.

    Raises:
        PiUsageError: It has layers that cannot share a prefix, such as recurrent or chunked ones.
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
    """Layers missing from `layer_types` that count keys instead of positions: GPT-Neo's local ones and ALiBi."""
    local = [kind for kind in getattr(config, "attention_layers", None) or [] if kind == "local"]
    settings = (config, getattr(config, "attn_config", None))
    return local + ["ALiBi attention" for one in settings if getattr(one, "alibi", False)]
