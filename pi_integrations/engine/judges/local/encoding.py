"""Text that nobody vouches for, to tokens: no character of it becomes one of the tokenizer's control tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tokenizers import Encoding, Tokenizer

__all__ = ["TextEncoder", "UnreadableText", "control_token_ids"]


class UnreadableText(ValueError):
    """The text has no faithful tokens; the message says why."""


def control_token_ids(tokenizer: Any) -> frozenset[int]:
    """The ids that only a template may write: special tokens, and added ones with visible text, `<think>` say.

    Runs of spaces that some vocabularies add are ordinary text, and so is the unknown token.
    """
    added = tokenizer.added_tokens_decoder
    ids = {index for index, token in added.items() if token.special or token.content.strip()}
    ids.update(tokenizer.all_special_ids)
    structural = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    return frozenset(ids - ({tokenizer.unk_token_id} - structural))


class TextEncoder:
    """Encodes untrusted text with a private copy of a fast tokenizer's backend.

    What comes out is checked, and text that makes a control token is cut inside it and encoded in parts: `<think>`
    becomes the tokens of `<` and `think>`. The backend's own switch (`encode_special_tokens`) would leave added tokens
    that are not marked special, and those that a vocabulary holds as a plain entry.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self._control = control_token_ids(tokenizer)

    def ids(self, text: str) -> list[int]:
        """The token ids of `text`, with nothing added.

        Raises:
            UnreadableText: As for `encode`.
        """
        return list(self.encode(text).ids)

    def encode(self, text: str) -> Encoding:
        """The tokens of `text`, with nothing added.

        Raises:
            UnreadableText: `text` is no valid Unicode, or a single character of it is a control token.
        """
        parts = [_valid(text)]
        while True:
            encodings = self._backend.encode_batch(parts, add_special_tokens=False)
            cuts = [self._cuts(encoding) for encoding in encodings]
            if not any(cuts):
                return Encoding.merge(encodings, growing_offsets=True)
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
