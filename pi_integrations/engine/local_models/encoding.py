"""From untrusted text to tokens, none of them a control token; and how many tokens a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Encoding

__all__ = ["TextEncoder", "UnreadableText", "control_token_ids", "readable_tokens", "reserved_positions"]

# Tokenizers that know no limit say 1e30.
_NO_LIMIT = 10**9


class UnreadableText(ValueError):
    """The text cannot be turned into tokens faithfully; the message says why."""


def control_token_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that only a template may write: special ones, and added ones with visible text like `<think>`.

    Runs of spaces that some vocabularies add are ordinary text, and so is the unknown token.
    """
    added = tokenizer.added_tokens_decoder
    ids = {index for index, token in added.items() if token.special or token.content.strip()}
    ids.update(tokenizer.all_special_ids)
    structural = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    return frozenset(ids - ({tokenizer.unk_token_id} - structural))


class TextEncoder:
    """Encodes untrusted text with a private copy of a fast tokenizer's backend.

    Text that would become a control token is cut inside it and encoded in parts: `<think>` becomes the tokens of `<`
    and `think>`.
    """

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers import Encoding, Tokenizer

        self._merge = Encoding.merge
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        # Not the backend's own `encode_special_tokens`: it misses added tokens that are not marked special, and control
        # tokens that the vocabulary holds as plain entries.
        self._control = control_token_ids(tokenizer)

    def ids(self, text: str) -> list[int]:
        """The token ids of `text`, as `encode` makes them."""
        return list(self.encode(text).ids)

    def encode(self, text: str) -> Encoding:
        """The tokens of `text`, with nothing added.

        Raises:
            UnreadableText: `text` is not valid Unicode, or a single character of it is a control token.
        """
        parts = [_valid(text)]
        while True:
            encodings = self._backend.encode_batch(parts, add_special_tokens=False)
            cuts = [self._cuts(encoding) for encoding in encodings]
            if not any(cuts):
                return self._merge(encodings, growing_offsets=True)
            parts = [piece for part, at in zip(parts, cuts, strict=True) for piece in _split(part, at)]

    def with_special_tokens(self, first: Encoding, second: Encoding) -> Encoding:
        """A pair as the tokenizer's own template joins it, separators and segment ids included."""
        return self._backend.post_process(first, second, add_special_tokens=True)

    def _cuts(self, encoding: Encoding) -> list[int]:
        """Where to cut a part so that none of its control tokens survives: one character into each."""
        spans = [span for index, span in zip(encoding.ids, encoding.offsets, strict=True) if index in self._control]
        for begin, end in spans:
            if end - begin < 2:
                raise UnreadableText("a single character of the text is a control token of the model")
        return [begin + 1 for begin, _ in spans]


def _valid(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnreadableText(f"the text is no valid Unicode (a lone surrogate at character {error.start})") from error
    return text


def _split(text: str, cuts: Sequence[int]) -> list[str]:
    edges = [0, *cuts, len(text)]
    return [text[begin:end] for begin, end in pairwise(edges)]


def readable_tokens(config: Any, tokenizer: Any, *, reserved: int = 0) -> int | None:
    """Most tokens that the model reads as it was trained to; None when nothing bounds them.

    Args:
        config: The model's configuration.
        tokenizer: Its tokenizer.
        reserved: Positions that hold no token; see `reserved_positions`.
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


def reserved_positions(model: Any) -> int:
    """Positions of `model` that hold no token.

    RoBERTa and its kin count positions from behind the padding index: 514 positions read 512 tokens.
    """
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0
