"""The judge's loaded model: exchanges and questions to tokens, what fits, and their scores; everything here blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from pi_integrations.engine.judges.local.prefix_scoring import (
    PrefixScorer,
    Prompt,
    find_answer_tokens,
    require_shared_prefix,
)
from pi_integrations.engine.judges.local.prompt import chat_frame, exchange_block, plain_frame
from pi_integrations.engine.judges.protocol import Exchange
from pi_integrations.engine.local_models.encoding import TextEncoder, UnreadableText, readable_tokens
from pi_integrations.engine.local_models.loading import Device, Dtype, load_model, load_tokenizer, pick_device

__all__ = ["BATCH_TOKENS", "JudgeModel", "Prepared", "PromptEncoder", "load_judge_model"]

# Where the matrices are large enough to be fast: more tokens in one pass only make the first answer wait.
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
_QUESTIONS_REMEMBERED = 4096


class PromptEncoder:
    """Tokenises exchanges and questions inside the chat template's frame, or the plain one.

    Control tokens come from the frame alone: exchange and question are untrusted text.
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
        """The tokens up to the question; raises UnreadableText."""
        return (*self._opening, *self._text.ids(exchange_block(exchange)), *self._bridge)

    def _suffix(self, question: str) -> tuple[int, ...]:
        """The tokens of the question and what follows it; the next token is the answer."""
        return (*self._text.ids(question), *self._closing)


def _start_tokens(tokenizer: Any) -> list[int]:
    """The token that the tokenizer puts before every text, if any."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("Yes").input_ids[:1] == [bos] else []


@dataclass(frozen=True, slots=True)
class Prepared:
    """A tokenised exchange: its prompt, and for each question the index of its suffix or why it has none."""

    prompt: Prompt | None
    places: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class JudgeModel:
    """A causal language model with its tokenizer. `prepare` belongs to one thread, `read` to another.

    Attributes:
        encoder: Makes a prompt's tokens.
        scorer: Makes their scores.
        limit: Most tokens of one exchange with one question; None when nothing bounds it.
        batch_tokens: Tokens of a batch of exchanges, padding included.
        longest_token: Characters of the longest entry of the vocabulary.
    """

    encoder: PromptEncoder
    scorer: PrefixScorer
    limit: int | None
    batch_tokens: int
    longest_token: int

    def prepare(self, exchange: Exchange, questions: Sequence[str]) -> Prepared:
        """The exchange as tokens; a question that cannot be read gets its reason instead of a suffix."""
        characters = len(exchange.llm_input) + len(exchange.llm_output)
        if self.limit is not None and characters > self.limit * self.longest_token:
            # Known without tokenising, which takes seconds for megabytes while other exchanges wait.
            reason = (
                f"The exchange has {characters:,} characters and the judge reads {self.limit:,} tokens: shorten"
                " llm_input or llm_output, or use a judge with a longer context."
            )
            return Prepared(None, (reason,) * len(questions))
        try:
            prefix = self.encoder.prefix(exchange)
        except UnreadableText as error:
            return Prepared(None, (f"The exchange cannot be read: {error}.",) * len(questions))
        suffixes: list[tuple[int, ...]] = []
        places = tuple(self._place(len(prefix), question, suffixes) for question in questions)
        return Prepared(Prompt(prefix, tuple(suffixes)) if suffixes else None, places)

    def read(self, prompts: Sequence[Prompt]) -> list[list[float] | str]:
        """The scores of each prompt, or why it has none. A batch that does not fit in memory is read one by one."""
        try:
            return list(self.scorer.score(prompts))
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
        _free_memory()
        if len(prompts) > 1:
            return [one for prompt in prompts for one in self.read([prompt])]
        tokens = prompts[0].tokens
        return [f"The model ran out of memory on {tokens:,} tokens: shorten the exchange or use a smaller model."]

    def _place(self, prefix_tokens: int, question: str, suffixes: list[tuple[int, ...]]) -> int | str:
        try:
            suffix = self.encoder.suffix(question)
        except UnreadableText as error:
            return f"The question cannot be read: {error}."
        tokens = prefix_tokens + len(suffix)
        if self.limit is not None and tokens > self.limit:
            return (
                f"The exchange and this question are {tokens:,} tokens and the judge reads {self.limit:,}: "
                "shorten llm_input or llm_output, or use a judge with a longer context."
            )
        suffixes.append(suffix)
        return len(suffixes) - 1


def load_judge_model(
    folder: Path, *, device: Device, dtype: Dtype, max_batch_tokens: int | None, max_input_tokens: int | None
) -> JudgeModel:
    """The model and the tokenizer in `folder`, with the model's logits behind a shared prefix checked.

    Raises:
        PiUsageError: Either cannot be loaded, or the model cannot serve as a judge.
    """
    where, tokenizer = pick_device(device), load_tokenizer(folder)
    encoder, answers = PromptEncoder(tokenizer), find_answer_tokens(tokenizer)
    model = load_model("causal-lm", folder, device=where, dtype=dtype)
    batch_tokens = max_batch_tokens or BATCH_TOKENS[where]
    scorer = PrefixScorer(model, answers, max_batch_tokens=batch_tokens)
    require_shared_prefix(scorer, model, dtype)
    limits = [limit for limit in (readable_tokens(model.config, tokenizer), max_input_tokens) if limit is not None]
    longest_token = max(map(len, tokenizer.get_vocab()))
    return JudgeModel(encoder, scorer, min(limits, default=None), batch_tokens, longest_token)


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA raises a type of its own; the CPU's allocator only says so in its message."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
