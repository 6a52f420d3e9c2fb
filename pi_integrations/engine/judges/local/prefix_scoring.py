"""P(yes) for many questions behind shared prefixes: each prefix is read once, each question is a short suffix."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from pi_integrations.engine.judges.local.answers import AnswerTokens
from pi_integrations.engine.judges.local.architecture import attention_of
from pi_integrations.engine.judges.local.layout import Suffix, pack_suffixes, slot_widths

__all__ = ["PrefixScorer", "Prompt"]

# Suffix tokens per row and pass. Suffixes compute their masked attention to each other in vain, which grows with the
# square of this; fewer make the matrices too small to be fast.
SUFFIX_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Prompt:
    """One exchange as tokens, and the suffix of each question about it; at least one, none of them empty."""

    prefix: tuple[int, ...]
    suffixes: tuple[Suffix, ...]

    @property
    def tokens(self) -> int:
        """Tokens that the model reads for it."""
        return len(self.prefix) + sum(map(len, self.suffixes))


class PrefixScorer:
    """Reads prompts with a causal language model; not thread-safe, call it from one thread.

    The cache holds the tokens of the prefixes and of the suffixes in flight. Suffixes go through in passes of at most
    `max_batch_tokens` tokens and 512 a row, or one suffix where that alone is longer.

    Args:
        model: A transformers causal language model in evaluation mode.
        answers: The tokens that mean yes and no.
        max_batch_tokens: Tokens in one pass over the suffixes, padding included.

    Raises:
        PiUsageError: The model's attention does not fit a shared prefix.
    """

    def __init__(self, model: Any, answers: AnswerTokens, *, max_batch_tokens: int) -> None:
        self._model, self._max_batch_tokens = model, max_batch_tokens
        self._attention = attention_of(model.config)
        self._yes = torch.tensor(answers.yes, device=model.device)
        self._no = torch.tensor(answers.no, device=model.device)
        takes = inspect.signature(model.forward).parameters
        self._keeps_logits = "logits_to_keep" in takes
        # Renamed in transformers 5.24. Older models take any keyword: they would drop `cache`, and the prefix with it.
        self._cache_name = "cache" if "cache" in takes else "past_key_values"

    def score(self, prompts: Sequence[Prompt]) -> list[list[float]]:
        """P(yes) / (P(yes) + P(no)) for each suffix of each prompt, in [0, 1]; NaN where the logits are not finite."""
        scores = [[float("nan")] * len(prompt.suffixes) for prompt in prompts]
        # The longest first: slots then align suffixes of like length, and the order of questions does not matter.
        orders = [sorted(range(len(p.suffixes)), key=lambda k: (-len(p.suffixes[k]), p.suffixes[k])) for p in prompts]
        rows = [[p.suffixes[k] for k in order] for p, order in zip(prompts, orders, strict=True)]
        for begin, answers in self._read(prompts, rows):
            for row, order in enumerate(orders):
                for slot, question in enumerate(order[begin : begin + answers.shape[1]]):
                    scores[row][question] = float(answers[row, slot])
        return scores

    def next_token_logits(self, prompts: Sequence[Prompt]) -> list[Tensor]:
        """The logits after each suffix, [questions of the prompt, vocabulary]; for small vocabularies and checks."""
        rows = [list(prompt.suffixes) for prompt in prompts]
        passes = [logits for _, logits in self._passes(prompts, rows)]
        return [torch.cat([logits[r] for logits in passes])[: len(row)] for r, row in enumerate(rows)]

    def _read(self, prompts: Sequence[Prompt], rows: list[list[Suffix]]) -> Iterator[tuple[int, Tensor]]:
        """P(yes) by row and slot, [B, K], of each pass, with the index of its first slot."""
        for begin, logits in self._passes(prompts, rows):
            yes = logits[..., self._yes].double().logsumexp(-1)
            no = logits[..., self._no].double().logsumexp(-1)
            yield begin, torch.sigmoid(yes - no).cpu()

    @torch.inference_mode()
    def _passes(self, prompts: Sequence[Prompt], rows: list[list[Suffix]]) -> Iterator[tuple[int, Tensor]]:
        lengths = [len(prompt.prefix) for prompt in prompts]
        cache = self._prefill([prompt.prefix for prompt in prompts])
        for begin, end in self._spans(slot_widths(rows), len(rows)):
            part = [row[begin:end] for row in rows]
            yield begin, self._suffix_logits(part, lengths, cache)

    def _prefill(self, prefixes: Sequence[tuple[int, ...]]) -> DynamicCache:
        """The cache of all prefixes, padded on the right: no token sees what comes after it, so no mask is needed."""
        longest = max(map(len, prefixes))
        ids = [[*prefix, *prefix[-1:] * (longest - len(prefix))] for prefix in prefixes]
        cache = DynamicCache()
        keep = {"logits_to_keep": 1} if self._keeps_logits else {}
        self._read_on(cache, torch.tensor(ids, device=self._model.device), **keep)
        return cache

    def _read_on(self, cache: DynamicCache, ids: Tensor, **inputs: Any) -> Any:
        """The model's output for `ids` behind what the cache holds, which then holds them too."""
        return self._model(ids, use_cache=True, **{self._cache_name: cache}, **inputs)

    def _spans(self, widths: Sequence[int], rows: int) -> Iterator[tuple[int, int]]:
        """Runs of slots that go through together, as (begin, end)."""
        room = min(SUFFIX_TOKENS, self._max_batch_tokens // rows)
        begin, used = 0, 0
        for end, width in enumerate(widths):
            if used + width > room and end > begin:
                yield begin, end
                begin, used = end, 0
            used += width
        yield begin, len(widths)

    def _suffix_logits(self, rows: list[list[Suffix]], lengths: list[int], cache: DynamicCache) -> Tensor:
        """The logits at the end of each slot, [B, K, vocabulary]; leaves the cache as it was."""
        batch = pack_suffixes(rows, lengths, self._model.device)
        keep = {"logits_to_keep": batch.ends} if self._keeps_logits else {}
        mask = self._attention.mask(batch, self._model.dtype)
        output = self._read_on(cache, batch.input_ids, attention_mask=mask, position_ids=batch.query_positions, **keep)
        cache.crop(-batch.input_ids.shape[1])
        logits: Tensor = output.logits
        return logits if self._keeps_logits else logits[:, batch.ends]
