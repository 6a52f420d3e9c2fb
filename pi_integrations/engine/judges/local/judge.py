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
from pi_integrations.engine.judges.local.prompt import PROMPT_VERSION
from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.engine.local_models.identity import fingerprint_of
from pi_integrations.engine.local_models.loading import Device, Dtype, is_local, require_local_extra, resolve_folder
from pi_integrations.errors import PiUsageError
from pi_integrations.models import Usage

if TYPE_CHECKING:
    from pi_integrations.engine.judges.local.model import JudgeModel, Prepared
    from pi_integrations.engine.judges.local.prefix_scoring import Prompt

__all__ = ["LocalJudge"]

# P(yes) of each of a prompt's questions, or why the model gave none.
Scores = list[float] | str


class LocalJudge:
    """Scores by P(yes) / (P(yes) + P(no)) of the next token of a transformers causal language model.

    An exchange is read once, and each question is a short suffix behind it. Concurrent exchanges of similar length are
    read in one batch. In float32 a score is the same within 1e-4 whatever else is in the batch; bfloat16 is faster on
    hardware made for it and moves scores by hundredths.

    Constructing is cheap; the weights load on the judge's own thread, on the first call or in `load`.

    Args:
        path_or_name: A folder made by save_pretrained, or a name on the Hugging Face hub. Safetensors only.
        device: `cpu`, `cuda`, or `auto`: CUDA where there is one.
        dtype: `float32` or `bfloat16`.
        max_batch_tokens: Tokens of a batch of exchanges, padding included; default 2,048 on a CPU, 16,384 on CUDA.
            A longer exchange is read alone.
        max_input_tokens: Most tokens of one exchange with one question; default: the model's context length.
        max_wait_ms: Milliseconds that an idle judge waits for more exchanges before it starts a batch.

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
        self._loading: asyncio.Future[JudgeModel] | None = None
        self._batcher: MicroBatcher[Prompt, Scores] | None = None
        self._closed = False

    @property
    def fingerprint(self) -> str:
        """Name, digests of weights and tokenizer, prompt version, reading and precision; never a path.

        The first access reads the folder's files (a second at worst) or downloads a hub model; after `load` it is free.
        """
        local = Path(self._name).expanduser()
        name = local.absolute().name if local.is_dir() else self._name
        return f"local:{name}:{self._identity}:prompt={PROMPT_VERSION}:logits:{self._dtype}"

    async def load(self) -> None:
        """Loads the model, once, off the loop; the engine calls it when it starts, so that a wrong path fails there.

        Raises:
            PiUsageError: The model cannot be loaded or cannot serve as a judge; says which path and what to do.
        """
        await self._model()

    async def answer(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        """One verdict per question, in their order; a question that cannot be read is unscored, with the reason.

        Raises:
            PiUsageError: The model cannot be loaded, or the judge is closed.
        """
        if not questions:
            return []
        model = await self._model()
        self._refuse_if_closed()
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self._threads[1], model.prepare, exchange, tuple(questions))
        scores: Scores = []
        if prepared.prompt is not None:
            scores = await self._batches(model).submit(prepared.prompt)
        return _verdicts(prepared, scores)

    async def aclose(self) -> None:
        """Finishes the batch in flight, refuses calls that wait, stops the threads and frees the model."""
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
    def _identity(self) -> str:
        return fingerprint_of(self._folder)

    async def _model(self) -> JudgeModel:
        """The loaded model. Concurrent first calls share one load, and a cancelled caller does not stop it."""
        self._refuse_if_closed()
        if self._loading is None or _failed(self._loading):
            self._loading = asyncio.get_running_loop().run_in_executor(self._threads[0], self._load)
            self._loading.add_done_callback(_failed)
        return await asyncio.shield(self._loading)

    def _load(self) -> JudgeModel:
        from pi_integrations.engine.judges.local.model import load_judge_model

        model = load_judge_model(
            self._folder,
            device=self._device,
            dtype=self._dtype,
            max_batch_tokens=self._max_batch_tokens,
            max_input_tokens=self._max_input_tokens,
        )
        _ = self._identity  # on this thread, so that `fingerprint` never reads files on the loop
        return model

    def _batches(self, model: JudgeModel) -> MicroBatcher[Prompt, Scores]:
        self._refuse_if_closed()
        if self._batcher is None:
            self._batcher = MicroBatcher(
                model.read,
                self._threads[0],
                size=lambda prompt: len(prompt.prefix),
                budget=model.batch_tokens,
                max_wait_s=self._max_wait_s,
            )
        return self._batcher

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise PiUsageError("The local judge is closed: make a new one.")


def _failed(loading: asyncio.Future[JudgeModel]) -> bool:
    """Whether loading ended without a model; checking also marks the exception as retrieved."""
    return loading.done() and (loading.cancelled() or loading.exception() is not None)


def _verdicts(prepared: Prepared, scores: Scores) -> list[Verdict]:
    """One verdict per question, in their order; the first carries the exchange's usage."""
    verdicts = [_verdict(place, scores) for place in prepared.places]
    if prepared.prompt is None or isinstance(scores, str):
        return verdicts
    usage = Usage(calls=1, input_tokens=prepared.prompt.tokens, output_tokens=0)
    first = verdicts[0]
    verdicts[0] = Verdict(first.score, first.reason, method="logits", usage=usage)
    return verdicts


def _verdict(place: int | str, scores: Scores) -> Verdict:
    if isinstance(place, str):
        return Verdict.unscored(place, method="logits")
    if isinstance(scores, str):
        return Verdict.unscored(scores, method="logits", retryable=True)
    if not math.isfinite(scores[place]):
        reason = "The model gave no finite logits: try dtype='float32', or check the weights."
        return Verdict.unscored(reason, method="logits")
    return Verdict(scores[place], method="logits")
