"""How many tokens a model reads, from its configuration and its tokenizer."""

from __future__ import annotations

from typing import Any

__all__ = ["readable_tokens"]

# Tokenizers that know no limit say 1e30.
_NO_LIMIT = 10**9


def readable_tokens(config: Any, tokenizer: Any, *, reserved: int = 0) -> int | None:
    """The longest text, in tokens, that the model reads as it was trained to; None when nothing bounds it.

    Args:
        config: The model's configuration.
        tokenizer: Its tokenizer.
        reserved: Positions that hold no token.
    """
    text = config.get_text_config(decoder=True)
    positions = getattr(text, "max_position_embeddings", None)
    limits = [None if positions is None else positions - reserved, tokenizer.model_max_length, *_long_rope_limits(text)]
    known = [int(limit) for limit in limits if limit is not None and 0 < limit < _NO_LIMIT]
    return min(known, default=None)


def _long_rope_limits(config: Any) -> list[int | None]:
    """LongRoPE changes the angles of a whole batch once any text in it passes the original length.

    Beyond that length a score would depend on its neighbours in the batch, and a prefix read before the change would
    not fit the question after it.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    return [
        kind.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)
        for kind in kinds
        if kind.get("rope_type") == "longrope"
    ]
