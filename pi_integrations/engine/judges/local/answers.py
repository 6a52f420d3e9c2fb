"""Which tokens mean yes and which mean no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pi_integrations.errors import PiUsageError

__all__ = ["AnswerTokens", "find_answer_tokens"]


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """Token ids that each say the whole word: `Yes`, `yes`, `YES`, with or without a space before it."""

    yes: tuple[int, ...]
    no: tuple[int, ...]


def find_answer_tokens(tokenizer: Any) -> AnswerTokens:
    """The tokens of `tokenizer`'s vocabulary that read "yes" and "no", whatever their case and surrounding space.

    The vocabulary is searched, rather than the words encoded, since tokenizers write the same word differently at the
    start of a text and after a space or a line break.

    Raises:
        PiUsageError: No single token reads "yes", or none "no": the next token cannot tell the answers apart.
    """
    found: dict[str, list[int]] = {"yes": [], "no": []}
    special = set(tokenizer.all_special_ids)
    for piece, index in tokenizer.get_vocab().items():
        if index not in special and _may_be_answer(piece):
            found.get(tokenizer.decode([index]).strip().lower(), []).append(index)
    missing = [word for word, ids in found.items() if not ids]
    if missing:
        raise PiUsageError(
            f"The tokenizer of {tokenizer.name_or_path} has no single token that reads "
            f"{' or '.join(map(repr, missing))}, so the next token cannot tell yes from no: use a model with a word or "
            "subword vocabulary."
        )
    return AnswerTokens(yes=tuple(sorted(found["yes"])), no=tuple(sorted(found["no"])))


def _may_be_answer(piece: str) -> bool:
    """A cheap test before decoding: vocabularies spell ASCII letters as themselves and add at most some marks."""
    return len(piece) <= 8 and ("yes" in piece.lower() or "no" in piece.lower())
