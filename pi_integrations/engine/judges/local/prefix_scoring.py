"""P(yes) of many questions behind shared prefixes: each prefix is read once, each question is a short suffix."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from pi_integrations.engine.judges.local.layout import Suffix, attention_of, pack_suffixes, slot_widths
from pi_integrations.engine.local_models.loading import Dtype
from pi_integrations.errors import PiUsageError

__all__ = ["AnswerTokens", "PrefixScorer", "Prompt", "find_answer_tokens", "require_shared_prefix"]

# Suffix tokens per row and pass. Suffixes compute their masked attention to each other in vain, which grows with the
# square of this; fewer make the matrices too small to be fast.
SUFFIX_TOKENS = 512

# Mean difference of the logits over their standard deviation. Rounding gives 1e-6 in float32 and about 1e-2 in
# bfloat16; a mask or a position that is ignored gives tenths or more.
TOLERANCE: dict[Dtype, float] = {"float32": 1e-3, "bfloat16": 0.1}
_REMEDY = "use a model with ordinary or sliding-window attention (llama, qwen, mistral, gemma, gpt2 …)."


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
    """A cheap test before decoding: vocabularies spell ASCII letters as themselves, with at most a few marks added."""
    return len(piece) <= 8 and ("yes" in piece.lower() or "no" in piece.lower())


@dataclass(frozen=True, slots=True)
class Prompt:
    """One exchange as tokens, and a suffix for each question about it; at least one, none of them empty."""

    prefix: tuple[int, ...]
    suffixes: tuple[Suffix, ...]

    @property
    def tokens(self) -> int:
        """Tokens that the model reads, prefix and suffixes together."""
        return len(self.prefix) + sum(map(len, self.suffixes))


class PrefixScorer:
    """Scores prompts with a causal language model; not thread-safe.

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
        """The logits after each suffix of each prompt, [questions, vocabulary]; for checks with few questions."""
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
        """The model's output for `ids` behind the cached tokens; the cache then holds both."""
        return self._model(ids, use_cache=True, **{self._cache_name: cache}, **inputs)

    def _spans(self, widths: Sequence[int], rows: int) -> Iterator[tuple[int, int]]:
        """Slots that share a pass, as (begin, end)."""
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


def require_shared_prefix(scorer: PrefixScorer, model: Any, dtype: Dtype) -> None:
    """Returns when `scorer` gets the same logits from `model` as reading each prompt in full, on made-up tokens.

    Architectures differ in how they take masks, positions and caches; one that ignores any of them would give wrong
    scores silently, so every model is tried once when it loads.

    Raises:
        PiUsageError: The logits differ, or the model refuses the cache, the mask or the positions.
    """
    kind = model.config.model_type
    try:
        difference = _difference(scorer, model, _trial(_vocabulary(model)))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise PiUsageError(
            f"A {kind} model cannot read questions behind a shared prefix ({type(error).__name__}: {error}): {_REMEDY}"
        ) from error
    if not difference <= TOLERANCE[dtype]:
        raise PiUsageError(
            f"A {kind} model gives other logits behind a shared prefix than in full (by {difference:.2g} standard "
            f"deviations): {_REMEDY}"
        )


def _vocabulary(model: Any) -> int:
    return int(model.config.get_text_config(decoder=True).vocab_size)


def _trial(vocabulary: int) -> list[Prompt]:
    """One batch of two exchanges with prefixes and suffixes of different lengths."""
    short = Prompt(prefix=_tokens(11, 1, vocabulary), suffixes=(_tokens(4, 2, vocabulary), _tokens(7, 3, vocabulary)))
    long = Prompt(prefix=_tokens(19, 4, vocabulary), suffixes=(_tokens(6, 5, vocabulary),))
    return [short, long]


def _tokens(count: int, seed: int, vocabulary: int) -> tuple[int, ...]:
    """Spread over the vocabulary by a multiplier that shares no factor with most sizes (Knuth, vol. 2, §3.3.4)."""
    return tuple((2654435761 * (seed * 101 + index)) % 2**32 % vocabulary for index in range(count))


def _difference(scorer: PrefixScorer, model: Any, prompts: list[Prompt]) -> float:
    worst = 0.0
    for prompt, shared in zip(prompts, scorer.next_token_logits(prompts), strict=True):
        for suffix, logits in zip(prompt.suffixes, shared, strict=True):
            whole = _full_reading(model, (*prompt.prefix, *suffix))
            scaled = (logits.double() - whole).abs().mean() / whole.std()
            worst = max(worst, float(scaled.nan_to_num(nan=float("inf"))))
    return worst


@torch.inference_mode()
def _full_reading(model: Any, tokens: tuple[int, ...]) -> torch.Tensor:
    logits: torch.Tensor = model(torch.tensor([tokens], device=model.device), use_cache=False).logits
    return logits[0, -1].double()
