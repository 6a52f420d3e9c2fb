"""The local judge as the engine sees it: loads once, off the loop, and answers from one model thread."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pi_integrations.engine.judges.local.batching import MicroBatcher
from pi_integrations.engine.judges.local.identity import tokenizer_digest, weights_digest
from pi_integrations.engine.judges.local.loading import (
    Device,
    Dtype,
    is_local,
    require_local_extra,
    resolve_folder,
)
from pi_integrations.engine.judges.local.prompt import PROMPT_VERSION
from pi_integrations.engine.judges.local.verdicts import Scores, verdicts_of
from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.errors import PiUsageError

if TYPE_CHECKING:
    from pi_integrations.engine.judges.local.prefix_scoring import Prompt
    from pi_integrations.engine.judges.local.reader import Reader

__all__ = ["LocalJudge"]


class LocalJudge:
    """Scores by P(yes) / (P(yes) + P(no)) of the next token of a transformers causal language model.

    An exchange is read once and each question is a short suffix behind it. Concurrent exchanges of like length are read
    together. In float32 a score is the same within 1e-4 whatever the other questions and exchanges are; bfloat16 is
    faster on hardware made for it and moves scores by hundredths.

    Constructing is cheap; the weights load on the judge's own thread, on the first call or in `load`.

    Args:
        path_or_name: A folder made by save_pretrained, or a name on the Hugging Face hub. Safetensors only.
        device: `cpu`, `cuda`, or `auto`: CUDA where there is one.
        dtype: `float32` or `bfloat16`.
        max_batch_tokens: Tokens of exchanges read together, padding included; default 2,048 on a CPU, 16,384 on CUDA.
            A longer exchange is read alone.
        max_input_tokens: Most tokens of one exchange with one question, when that is to be less than the model reads.
        max_wait_ms: Milliseconds that an idle judge waits for company before it reads.

    Raises:
        ImportError: torch or transformers is missing.
        PiUsageError: There is no such folder, or an argument is out of range.

    Example:
        >>> judge = LocalJudge("models/qwen2.5-0.5b-instruct")  # doctest: +SKIP
        >>> await judge.answer(Exchange("Is it open?", "Yes, till six."), ["Is it short?"])  # doctest: +SKIP
        [Verdict(score=0.93, ...)]
    """

    def __init__(
        self,
        path_or_name: str | Path,
        *,
        device: Device = "auto",
        dtype: Dtype = "float32",
        max_batch_tokens: int | None = None,
        max_input_tokens: int | None = None,
        max_wait_ms: float = 1.0,
    ) -> None:
        require_local_extra("The local judge")
        self._name, self._device, self._dtype = str(path_or_name), device, dtype
        self._max_batch_tokens, self._max_input_tokens = max_batch_tokens, max_input_tokens
        self._max_wait_s = max_wait_ms / 1000
        self._check()
        self._threads = [ThreadPoolExecutor(1, f"local-judge-{work}") for work in ("model", "tokenizer")]
        self._loading: asyncio.Future[Reader] | None = None
        self._batcher: MicroBatcher[Prompt, Scores] | None = None
        self._closed = False

    @property
    def fingerprint(self) -> str:
        """Name, digests of weights and tokenizer, prompt version, reading and precision; never a path.

        The first access reads the folder's files (a second at worst) and fetches a hub name; after `load` it is free.
        """
        weights, tokenizer = self._digests
        local = Path(self._name).expanduser()
        name = local.absolute().name if local.is_dir() else self._name
        return f"local:{name}:weights={weights}:tokenizer={tokenizer}:prompt={PROMPT_VERSION}:logits:{self._dtype}"

    async def load(self) -> None:
        """Loads the model, once, off the loop; the engine calls it at start so that a wrong path fails there.

        Raises:
            PiUsageError: The model cannot be loaded or cannot serve as a judge; says which path and what to do.
        """
        await self._reader()

    async def answer(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        """One verdict per question, in their order; a question that cannot be read is unscored, with the reason.

        Raises:
            PiUsageError: The model cannot be loaded, or the judge is closed.
        """
        if not questions:
            return []
        reader = await self._reader()
        self._refuse_if_closed()
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self._threads[1], reader.prepare, exchange, tuple(questions))
        scores: Scores = []
        if prepared.prompt is not None:
            scores = await self._batches(reader).submit(prepared.prompt)
        return verdicts_of(prepared, scores)

    async def aclose(self) -> None:
        """Lets the batch in flight end, refuses what waits, stops the threads and frees the model."""
        self._closed = True
        if self._batcher is not None:
            await self._batcher.aclose()
        if self._loading is not None:
            await asyncio.wait([self._loading])
        for thread in self._threads:
            await asyncio.to_thread(thread.shutdown, wait=True)
        self._batcher = self._loading = None

    def _check(self) -> None:
        if self._dtype not in ("float32", "bfloat16"):
            raise PiUsageError(f"dtype={self._dtype!r} is unknown: use 'float32' or 'bfloat16'.")
        if self._device not in ("auto", "cpu", "cuda"):
            raise PiUsageError(f"device={self._device!r} is unknown: use 'auto', 'cpu' or 'cuda'.")
        for name, value in (("max_batch_tokens", self._max_batch_tokens), ("max_input_tokens", self._max_input_tokens)):
            if value is not None and value < 1:
                raise PiUsageError(f"{name}={value}: give a positive number of tokens.")
        if not (math.isfinite(self._max_wait_s) and self._max_wait_s >= 0):
            raise PiUsageError("max_wait_ms: give a number of milliseconds, 0 or more.")
        if is_local(self._name):
            resolve_folder(self._name)

    @cached_property
    def _folder(self) -> Path:
        return resolve_folder(self._name)

    @cached_property
    def _digests(self) -> tuple[str, str]:
        return weights_digest(self._folder)[:16], tokenizer_digest(self._folder)[:16]

    async def _reader(self) -> Reader:
        """The loaded model: concurrent first calls share one loading, and a caller that gives up does not stop it."""
        self._refuse_if_closed()
        if self._loading is None or _failed(self._loading):
            self._loading = asyncio.get_running_loop().run_in_executor(self._threads[0], self._load)
            self._loading.add_done_callback(_failed)
        return await asyncio.shield(self._loading)

    def _load(self) -> Reader:
        from pi_integrations.engine.judges.local.reader import load_reader

        reader = load_reader(
            self._folder,
            device=self._device,
            dtype=self._dtype,
            max_batch_tokens=self._max_batch_tokens,
            max_input_tokens=self._max_input_tokens,
        )
        _ = self._digests
        return reader

    def _batches(self, reader: Reader) -> MicroBatcher[Prompt, Scores]:
        self._refuse_if_closed()
        if self._batcher is None:
            self._batcher = MicroBatcher(
                reader.read,
                self._threads[0],
                size=lambda prompt: len(prompt.prefix),
                budget=reader.batch_tokens,
                max_wait_s=self._max_wait_s,
            )
        return self._batcher

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise PiUsageError("The local judge is closed: make a new one.")


def _failed(loading: asyncio.Future[Reader]) -> bool:
    """Whether loading ended without a model; asking also marks the error as seen."""
    return loading.done() and (loading.cancelled() or loading.exception() is not None)
