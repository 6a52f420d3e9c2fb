"""The local judge beside one prompt per question: tokens, wall time, and how far scores move.

Run `python benchmarks/local_judge.py`. Builds a random llama of some 60 million parameters and its tokenizer, and
downloads nothing. Takes about two minutes on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from pi_integrations.engine.judges import Exchange
from pi_integrations.engine.judges.local import LocalJudge
from pi_integrations.engine.judges.local.answers import find_answer_tokens
from pi_integrations.engine.judges.local.loading import Dtype, load_tokenizer
from pi_integrations.engine.judges.local.prefix_scoring import PrefixScorer, Prompt
from pi_integrations.engine.judges.local.prompt_tokens import PromptEncoder

EXCHANGE_TOKENS = 800
QUESTIONS = [
    "Does the answer say when the support desk opens?",
    "Is the answer polite?",
    "Does the answer address the customer's actual problem?",
    "Is every claim in the answer supported by the input?",
    "Does the answer avoid promising a refund?",
    "Is the answer short enough to read on a phone?",
    "Does the answer give a next step that the customer can take today?",
    "Is the answer free of blame?",
    "Does the answer name the order that the customer asked about?",
    "Would a careful colleague send this answer unchanged?",
]
SENTENCES = [
    "Yes No yes no YES NO.",
    "The customer writes that the parcel has not arrived and asks what happens next.",
    "Thank you for your message; the support desk opens at nine and will look into your order today.",
    "You judge one exchange between a user and an application: the input, then the output, each between two tags.",
    "Is the answer polite, short, correct and free of blame? Question about the exchange: answer Yes or No.",
    *QUESTIONS,
]


def main() -> None:
    """Prints the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5, help="timed runs of each way")
    arguments.add_argument("--threads", type=int, default=os.cpu_count(), help="torch threads")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        parameters = build_model(Path(folder))
        print(f"random llama, {parameters / 1e6:.1f} M parameters; {describe_machine(options.threads)}\n")
        speed(Path(folder), options.runs)
        asyncio.run(spread(Path(folder)))


def build_model(folder: Path) -> int:
    """Saves a random llama and a byte-level tokenizer; returns the number of parameters."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(SENTENCES * 4, trainers.BpeTrainer(vocab_size=4096, initial_alphabet=alphabet))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="<pad>")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=8,
        num_attention_heads=12,
        num_key_value_heads=12,
        max_position_embeddings=4096,
        initializer_range=0.05,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def describe_machine(threads: int) -> str:
    """Processor, threads and versions."""
    return (
        f"{platform.machine()}, {threads} threads, torch {torch.__version__}, transformers {transformers.__version__}"
    )


def exchange_of(tokens: int, encoder: PromptEncoder, seed: int = 0) -> Exchange:
    """An exchange whose prompt prefix, instructions included, is `tokens` long, or a few more."""
    output = f"Case {seed}."
    while len(encoder.prefix(Exchange(SENTENCES[1], output))) < tokens:
        output += " " + SENTENCES[(len(output) + seed) % 5]
    return Exchange(SENTENCES[1], output)


def speed(folder: Path, runs: int) -> None:
    """Prints shared prefix beside one prompt per question: the same model, the same tokens, taking turns."""
    tokenizer = load_tokenizer(folder)
    encoder, model = PromptEncoder(tokenizer), AutoModelForCausalLM.from_pretrained(folder).eval()
    scorer = PrefixScorer(model, find_answer_tokens(tokenizer), max_batch_tokens=2048)
    instructions = len(encoder.prefix(Exchange("", "")))
    exchange = exchange_of(EXCHANGE_TOKENS + instructions, encoder)
    prompt = Prompt(encoder.prefix(exchange), tuple(encoder.suffix(question) for question in QUESTIONS))
    whole = [[*prompt.prefix, *suffix] for suffix in prompt.suffixes]
    ways: dict[str, Callable[[], object]] = {
        "shared prefix": lambda: scorer.score([prompt]),
        "one prompt per question": lambda: [read_in_full(model, [one]) for one in whole],
        "one batch of whole prompts": lambda: read_in_full(model, whole),
    }
    seconds = alternate(ways, runs)
    tokens = {name: sum(map(len, whole)) for name in ways} | {"shared prefix": prompt.tokens}
    tokens["one batch of whole prompts"] = len(whole) * max(map(len, whole))
    print(
        f"{len(QUESTIONS)} questions on an exchange of {EXCHANGE_TOKENS} tokens, instructions {instructions} tokens; "
    )
    print(f"float32, median of {runs} runs, ways taking turns\n")
    print(f"| {'way':<26} | tokens read | seconds (min to max)     | tokens/s |")
    print(f"|{'-' * 28}|------------:|:-------------------------|---------:|")
    for name, times in seconds.items():
        middle = statistics.median(times)
        span = f"{middle:.3f} ({min(times):.3f} to {max(times):.3f})"
        print(f"| {name:<26} | {tokens[name]:>11,} | {span:<24} | {tokens[name] / middle:>8,.0f} |")
    print_ratio(tokens, seconds)


def print_ratio(tokens: dict[str, int], seconds: dict[str, list[float]]) -> None:
    """Prints the token ratio, the speed-up, and the one over the other."""
    one, shared = "one prompt per question", "shared prefix"
    ratio = tokens[one] / tokens[shared]
    speedups = [slow / fast for slow, fast in zip(seconds[one], seconds[shared], strict=True)]
    speedup = statistics.median(seconds[one]) / statistics.median(seconds[shared])
    print(f"\ntoken ratio {ratio:.2f}; speed-up {speedup:.2f} (run by run {min(speedups):.2f} to {max(speedups):.2f})")
    print(f"speed-up / token ratio {speedup / ratio:.2f}   (aim: at least 0.80)\n")


def alternate(ways: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Seconds of each run of each way: one warm-up, then all ways in turn, the order turning round every run."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(runs + 1):
        for name in sorted(ways, reverse=bool(run % 2)):
            begin = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - begin)
    return {name: times[1:] for name, times in seconds.items()}


@torch.inference_mode()
def read_in_full(model: Any, prompts: Sequence[list[int]]) -> torch.Tensor:
    """The logits after each prompt, read as one padded batch with no cache."""
    longest = max(map(len, prompts))
    ids = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts])
    ends = torch.tensor([len(prompt) - 1 for prompt in prompts])
    logits: torch.Tensor = model(ids, use_cache=False, logits_to_keep=ends.unique()).logits
    return logits


async def spread(folder: Path) -> None:
    """Prints how far scores move with question order and batch mates in float32, and from float32 to bfloat16."""
    encoder = PromptEncoder(load_tokenizer(folder))
    exchanges = [exchange_of(tokens, encoder, seed) for seed, tokens in enumerate((210, 240, 250, 700, 230))]
    alone = await answers(folder, "float32", exchanges, together=False)
    backwards = await answers(folder, "float32", exchanges, together=False, questions=QUESTIONS[::-1])
    single = await answers(folder, "float32", exchanges[:1], together=False, one_by_one=True)
    together = await answers(folder, "float32", exchanges, together=True)
    half = await answers(folder, "bfloat16", exchanges, together=True)
    print("scores of 10 questions on 5 exchanges, prompts of 210 to 700 tokens, differences in P(yes)\n")
    print("| compared with float32, one exchange at a time |     max |    mean | aim    |")
    print("|-----------------------------------------------|--------:|--------:|--------|")
    print_difference("float32, questions backwards", alone, [row[::-1] for row in backwards], "≤ 1e-4")
    print_difference("float32, each question alone", alone, single, "≤ 1e-4")
    print_difference("float32, all exchanges concurrently", alone, together, "≤ 1e-4")
    print_difference("bfloat16, all exchanges concurrently", alone, half, "stated")
    flat = [score for row in alone for score in row]
    print(f"\nfloat32 scores run from {min(flat):.3f} to {max(flat):.3f}")


async def answers(
    folder: Path,
    dtype: Dtype,
    exchanges: list[Exchange],
    *,
    together: bool,
    questions: list[str] = QUESTIONS,
    one_by_one: bool = False,
) -> list[list[float]]:
    """The judge's scores, a row per exchange."""
    judge = LocalJudge(folder, device="cpu", dtype=dtype, max_wait_ms=20)
    calls = [[question] for question in questions] if one_by_one else [questions]
    try:
        rows = [[judge.answer(exchange, call) for call in calls] for exchange in exchanges]
        if together:
            verdicts = [[answer] for answer in await asyncio.gather(*(call for row in rows for call in row))]
        else:
            verdicts = [[await call for call in row] for row in rows]
    finally:
        await judge.aclose()
    return [[float(verdict.score or 0) for call in row for verdict in call] for row in verdicts]


def print_difference(name: str, first: list[list[float]], second: list[list[float]], aim: str) -> None:
    """Prints one line of the table."""
    pairs = [(a, b) for left, right in zip(first, second, strict=False) for a, b in zip(left, right, strict=True)]
    gaps = [abs(a - b) for a, b in pairs]
    print(f"| {name:<45} | {max(gaps):.1e} | {statistics.mean(gaps):.1e} | {aim:<6} |")


if __name__ == "__main__":
    main()
