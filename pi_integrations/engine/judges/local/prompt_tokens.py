"""The judge's prompt as tokens: a prefix per exchange, a suffix per question."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pi_integrations.engine.judges.local.encoding import TextEncoder
from pi_integrations.engine.judges.local.prompt import chat_frame, exchange_block, plain_frame
from pi_integrations.engine.judges.protocol import Exchange

__all__ = ["PromptEncoder"]

_QUESTIONS_REMEMBERED = 4096


class PromptEncoder:
    """Tokenises exchanges and questions in the frame that the tokenizer calls for, always in the same pieces.

    Control tokens come from the frame alone: exchange and question are both text from outside.
    """

    def __init__(self, tokenizer: Any) -> None:
        frame = chat_frame(tokenizer) if tokenizer.chat_template else plain_frame()
        start = [] if tokenizer.chat_template else _start_tokens(tokenizer)
        self._text = TextEncoder(tokenizer)
        self._opening = start + tokenizer.encode(frame.opening, add_special_tokens=False)
        self._bridge = tokenizer.encode(frame.bridge, add_special_tokens=False)
        self._closing = tokenizer.encode(frame.closing, add_special_tokens=False)
        self.suffix = lru_cache(_QUESTIONS_REMEMBERED)(self._suffix)

    def prefix(self, exchange: Exchange) -> tuple[int, ...]:
        """Everything up to the question.

        Raises:
            UnreadableText: The exchange has no faithful tokens.
        """
        return (*self._opening, *self._text.ids(exchange_block(exchange)), *self._bridge)

    def _suffix(self, question: str) -> tuple[int, ...]:
        """The question and everything after it; the next token is the answer."""
        return (*self._text.ids(question), *self._closing)


def _start_tokens(tokenizer: Any) -> list[int]:
    """The token that the tokenizer puts before every text, if it does."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("Yes").input_ids[:1] == [bos] else []
