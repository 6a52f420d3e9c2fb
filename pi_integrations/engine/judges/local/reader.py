"""A loaded model that reads exchanges: what fits, what it costs, and the scores; everything here blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from pi_integrations.engine.judges.local.answers import find_answer_tokens
from pi_integrations.engine.judges.local.encoding import UnreadableText
from pi_integrations.engine.judges.local.limits import readable_tokens
from pi_integrations.engine.judges.local.loading import Device, Dtype, load_model, load_tokenizer, pick_device
from pi_integrations.engine.judges.local.prefix_scoring import PrefixScorer, Prompt
from pi_integrations.engine.judges.local.probe import require_shared_prefix
from pi_integrations.engine.judges.local.prompt_tokens import PromptEncoder
from pi_integrations.engine.judges.protocol import Exchange

__all__ = ["Prepared", "Reader", "load_reader"]

# Where the matrices are large enough to be fast: more tokens in one pass only make the first answer wait.
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}


@dataclass(frozen=True, slots=True)
class Prepared:
    """An exchange ready to be read: the prompt, and for each question the index of its suffix or why it has none."""

    prompt: Prompt | None
    places: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """A model with its tokenizer. `prepare` belongs to one thread, `read` to another.

    Attributes:
        encoder: Makes the prompt's tokens.
        scorer: Reads them.
        limit: Most tokens of one exchange with one question; None when nothing bounds it.
        batch_tokens: Tokens of exchanges that are read together, padding included.
        longest_token: Characters of the longest entry of the vocabulary.
    """

    encoder: PromptEncoder
    scorer: PrefixScorer
    limit: int | None
    batch_tokens: int
    longest_token: int

    def prepare(self, exchange: Exchange, questions: Sequence[str]) -> Prepared:
        """Tokenises; a question that cannot be read gets its reason instead of a place."""
        characters = len(exchange.llm_input) + len(exchange.llm_output)
        if self.limit is not None and characters > self.limit * self.longest_token:
            # Seen without tokenising, which would take seconds for megabytes while other exchanges wait.
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
        """The scores of each prompt, or why there are none. Out of memory, prompts are read one by one."""
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


def load_reader(
    folder: Path, *, device: Device, dtype: Dtype, max_batch_tokens: int | None, max_input_tokens: int | None
) -> Reader:
    """The model and the tokenizer in `folder`, tried out.

    Raises:
        PiUsageError: Either cannot be loaded, or the model cannot serve as a judge.
    """
    where, tokenizer = pick_device(device), load_tokenizer(folder)
    encoder, answers = PromptEncoder(tokenizer), find_answer_tokens(tokenizer)
    model = load_model(AutoModelForCausalLM, folder, device=where, dtype=dtype)
    batch_tokens = max_batch_tokens or BATCH_TOKENS[where]
    scorer = PrefixScorer(model, answers, max_batch_tokens=batch_tokens)
    require_shared_prefix(scorer, model, dtype)
    limits = [limit for limit in (readable_tokens(model.config, tokenizer), max_input_tokens) if limit is not None]
    longest_token = max(map(len, tokenizer.get_vocab()))
    return Reader(encoder, scorer, min(limits, default=None), batch_tokens, longest_token)


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has a type for it; on the CPU the allocator says so in words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
