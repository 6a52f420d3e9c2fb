"""The local judge beside one prompt per question: tokens, wall time, and how far scores move.

Run `python benchmarks/local_judge.py [--device cuda]`. Builds a random llama of some 60 million parameters, on a GPU of
1.2 billion, and its tokenizer, and downloads nothing. Takes about two minutes on two cores, of which it uses half by
default: threads that share their cores with other work wait for each other at every step, and the way with more steps
looks slow for no fault of its own. On a GPU also: exchanges a second by precision and `max_batch_tokens`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from _tables import print_table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from pi_integrations.engine.judges import Exchange
from pi_integrations.engine.judges.local import LocalJudge
from pi_integrations.engine.judges.local.model import BATCH_TOKENS, PromptEncoder
from pi_integrations.engine.judges.local.prefix_scoring import PrefixScorer, Prompt, find_answer_tokens
from pi_integrations.engine.local_models.loading import Device, Dtype, load_tokenizer

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
CPU_SHAPE = {
    "vocab_size": 4096,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "initializer_range": 0.05,
}
# As Llama 3.2 1B is; its vocabulary too, since that is a fifth of it.
GPU_SHAPE = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "initializer_range": 0.02,
    "tie_word_embeddings": True,
}
SHAPES: dict[str, dict[str, Any]] = {"cpu": CPU_SHAPE, "cuda": GPU_SHAPE}
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
    arguments.add_argument("--runs", type=int, default=2, help="timed runs of each whole prompt")
    arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 1) // 2), help="torch threads")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        parameters = build_model(Path(folder), SHAPES[options.device])
        machine = describe_machine(options.threads, options.device)
        print(f"random llama, {parameters / 1e6:,.1f} M parameters; {machine}")
        speed(Path(folder), options.runs, options.device)
        asyncio.run(spread(Path(folder), options.device))
        if options.device == "cuda":
            asyncio.run(throughput(Path(folder)))


def build_model(folder: Path, shape: dict[str, int]) -> int:
    """Saves a random llama and a byte-level tokenizer; returns the number of parameters."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(SENTENCES * 4, trainers.BpeTrainer(vocab_size=4096, initial_alphabet=alphabet))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="<pad>")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        **shape,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def describe_machine(threads: int, device: str) -> str:
    """Processor, threads and versions."""
    where = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {threads} threads"
    return f"{where}, torch {torch.__version__}, transformers {transformers.__version__}"


def exchange_of(tokens: int, encoder: PromptEncoder, seed: int = 0) -> Exchange:
    """An exchange whose prompt prefix, instructions included, is `tokens` long, or a few more."""
    output = f"Case {seed}."
    while len(encoder.prefix(Exchange(SENTENCES[1], output))) < tokens:
        output += " " + SENTENCES[(len(output) + seed) % 5]
    return Exchange(SENTENCES[1], output)


def speed(folder: Path, runs: int, device: str) -> None:
    """Prints shared prefix beside one prompt per question: the same model, the same tokens, taking turns."""
    tokenizer = load_tokenizer(folder)
    encoder, model = PromptEncoder(tokenizer), AutoModelForCausalLM.from_pretrained(folder).eval().to(device)
    scorer = PrefixScorer(model, find_answer_tokens(tokenizer), max_batch_tokens=BATCH_TOKENS[device])
    instructions = len(encoder.prefix(Exchange("", "")))
    exchange = exchange_of(EXCHANGE_TOKENS + instructions, encoder)
    prompt = Prompt(encoder.prefix(exchange), tuple(encoder.suffix(question) for question in QUESTIONS))
    whole = [[*prompt.prefix, *suffix] for suffix in prompt.suffixes]
    shared, single = take_turns(
        lambda: scorer.score([prompt]), [lambda one=one: read_in_full(model, one) for one in whole], runs
    )
    tokens = prompt.tokens, sum(map(len, whole))
    print_table(
        f"{len(QUESTIONS)} questions on an exchange of {EXCHANGE_TOKENS} tokens and {instructions} of instructions; "
        f"float32, medians, a shared reading timed beside each of {runs} x {len(QUESTIONS)} whole prompts",
        ["way", "readings", "tokens read", "seconds", "fastest", "slowest", "tokens/s"],
        [
            speed_row("shared prefix", tokens[0], [shared]),
            speed_row("one prompt per question", tokens[1], single),
        ],
    )
    ratio, speedup = tokens[1] / tokens[0], total(single) / total([shared])
    print(f"\ntoken ratio {ratio:.2f}; speed-up {speedup:.2f}")
    print(f"speed-up / token ratio {speedup / ratio:.2f}   (aim: at least 0.80)")


def take_turns(
    shared: Callable[[], object], whole: list[Callable[[], object]], runs: int
) -> tuple[list[float], list[list[float]]]:
    """Seconds of each shared reading, and of each run of each whole prompt.

    Both take about a second and take turns, changing who goes first, so that other work on the machine meets both.
    """
    together: list[float] = []
    single: list[list[float]] = [[] for _ in whole]
    for run in range(-1, runs):
        for index, one in enumerate(whole[: 1 if run < 0 else None]):
            turns = [(shared, together), (one, single[index])]
            for way, seconds in turns if (run + index) % 2 else turns[::-1]:
                begin = time.perf_counter()
                way()
                seconds.append(time.perf_counter() - begin)
    return together[1:], [single[0][1:], *single[1:]]


def total(readings: list[list[float]], pick: Callable[[list[float]], float] = statistics.median) -> float:
    """Seconds of one reading after the other, each at the median of its runs."""
    return sum(pick(seconds) for seconds in readings)


def speed_row(name: str, tokens: int, readings: list[list[float]]) -> list[str]:
    """One line of the table."""
    spans = [f"{total(readings, pick):.3f}" for pick in (statistics.median, min, max)]
    return [name, str(len(readings)), f"{tokens:,}", *spans, f"{tokens / total(readings):,.0f}"]


@torch.inference_mode()
def read_in_full(model: Any, prompt: list[int]) -> torch.Tensor:
    """The logits after the prompt, read with no cache."""
    ids = torch.tensor([prompt], device=model.device)
    logits: torch.Tensor = model(ids, use_cache=False, logits_to_keep=1).logits
    return logits.cpu()


async def spread(folder: Path, device: Device) -> None:
    """Prints how far scores move with question order and batch mates in float32, and from float32 to bfloat16."""
    encoder = PromptEncoder(load_tokenizer(folder))
    exchanges = [exchange_of(tokens, encoder, seed) for seed, tokens in enumerate((210, 240, 250, 700, 230))]
    alone = await answers(folder, device, "float32", exchanges, together=False)
    backwards = await answers(folder, device, "float32", exchanges, together=False, questions=QUESTIONS[::-1])
    single = await answers(folder, device, "float32", exchanges[:1], together=False, one_by_one=True)
    together = await answers(folder, device, "float32", exchanges, together=True)
    half = await answers(folder, device, "bfloat16", exchanges, together=True)
    print_table(
        "P(yes) of 10 questions on 5 exchanges, prompts of 210 to 700 tokens, beside float32 one exchange at a time",
        ["reading", "largest difference", "mean difference", "aim"],
        [
            difference_row("float32, questions backwards", alone, [row[::-1] for row in backwards], "≤ 1e-4"),
            difference_row("float32, each question alone", alone[:1], single, "≤ 1e-4"),
            difference_row("float32, all exchanges concurrently", alone, together, "≤ 1e-4"),
            difference_row("bfloat16, all exchanges concurrently", alone, half, "stated"),
        ],
    )
    flat = [score for row in alone for score in row]
    print(f"\nfloat32 scores run from {min(flat):.3f} to {max(flat):.3f}")


async def answers(
    folder: Path,
    device: Device,
    dtype: Dtype,
    exchanges: list[Exchange],
    *,
    together: bool,
    questions: list[str] = QUESTIONS,
    one_by_one: bool = False,
) -> list[list[float]]:
    """The judge's scores, a row per exchange."""
    judge = LocalJudge(folder, device=device, dtype=dtype, max_wait_ms=20)
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


def difference_row(name: str, first: list[list[float]], second: list[list[float]], aim: str) -> list[str]:
    """One line of the table."""
    pairs = [pair for left, right in zip(first, second, strict=True) for pair in zip(left, right, strict=True)]
    gaps = [abs(a - b) for a, b in pairs]
    return [name, f"{max(gaps):.1e}", f"{statistics.mean(gaps):.1e}", aim]


async def throughput(folder: Path, count: int = 256) -> None:
    """Prints how many exchanges a second are answered when `count` come at once, and the GPU memory that takes."""
    encoder = PromptEncoder(load_tokenizer(folder))
    lengths = [exchange_of(tokens, encoder) for tokens in range(300, 1100, 100)]
    exchanges = [Exchange(f"Number {n}. {lengths[n % 8].llm_input}", lengths[n % 8].llm_output) for n in range(count)]
    rows = []
    settings: list[tuple[Dtype, int]] = [("float32", 16384)]
    settings += [("bfloat16", tokens) for tokens in (1024, 2048, 4096, 8192, 16384, 32768, 65536)]
    for dtype, budget in settings:
        judge = LocalJudge(folder, device="cuda", dtype=dtype, max_batch_tokens=budget)
        await judge.answer(exchanges[0], QUESTIONS)
        torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(3):
            begin = time.perf_counter()
            verdicts = await asyncio.gather(*(judge.answer(exchange, QUESTIONS) for exchange in exchanges))
            seconds.append(time.perf_counter() - begin)
        await judge.aclose()
        assert all(verdict.score is not None for answer in verdicts for verdict in answer)
        tokens = sum(answer[0].usage.input_tokens or 0 for answer in verdicts if answer[0].usage)
        took, peak = statistics.median(seconds), torch.cuda.max_memory_allocated() / 2**30
        rows.append([dtype, f"{budget:,}", f"{count / took:,.0f}", f"{tokens / took:,.0f}", f"{peak:.1f}"])
    print_table(
        f"{count} exchanges at once, prompts of 300 to 1,000 tokens and {len(QUESTIONS)} questions each, median of 3",
        ["precision", "max_batch_tokens", "exchanges/s", "tokens/s", "peak GiB"],
        rows,
    )


if __name__ == "__main__":
    main()
