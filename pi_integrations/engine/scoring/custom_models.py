"""Custom models: sequence classifiers that the operator registered, for `CUSTOM_MODEL_SCORER` questions."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple, Unpack

from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.engine.local_models.encoding import (
    TextEncoder,
    UnreadableText,
    readable_tokens,
    reserved_positions,
)
from pi_integrations.engine.local_models.identity import fingerprint_of
from pi_integrations.engine.local_models.loading import (
    Device,
    is_local,
    load_model,
    load_tokenizer,
    pick_device,
    require_local_extra,
    resolve_folder,
)
from pi_integrations.engine.threads import shut_down
from pi_integrations.errors import PiUsageError
from pi_integrations.models import Usage

if TYPE_CHECKING:
    from tokenizers import Encoding
    from torch import Tensor

__all__ = ["CustomModel", "CustomModels"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class CustomModel:
    """A transformers sequence-classification model and how its output becomes a score in [0, 1].

    The model reads `(llm_input, llm_output)` as the tokenizer's text pair.

    Attributes:
        path: A folder made by save_pretrained, or a name on the Hugging Face hub. Safetensors only.
        positive_class: The class, by its name in the model's configuration, whose probability is the score. None for a
            model with a single logit, whose sigmoid is the score.
        include_question: Whether the question goes before `llm_input` in the first text, with an empty line between
            them; for models trained to read one.

    Example:
        >>> CustomModel("models/tone", positive_class="POLITE").reading
        'class'
    """

    path: str | Path
    positive_class: str | None = None
    include_question: bool = False

    @property
    def reading(self) -> Literal["sigmoid", "class"]:
        """`sigmoid` of the one logit, or the probability of a named `class`."""
        return "sigmoid" if self.positive_class is None else "class"


class CustomModels:
    """The operator's models by id. Each loads once, on its first use or in `load`, and all run on one thread.

    Args:
        models: The registered models by the id that questions give as `custom_model_id`.
        device: `cpu`, `cuda`, or `auto`: CUDA where there is one.

    Raises:
        ImportError: torch or transformers is missing.
        PiUsageError: A model's folder is missing, or its classes do not fit its reading.

    Example:
        >>> models = CustomModels({})
        >>> models.ids
        ()
    """

    def __init__(self, models: Mapping[str, CustomModel], *, device: Device = "auto") -> None:
        self._models, self._device = dict(models), device
        if self._models:
            require_local_extra("A custom model")
        for model_id, model in self._models.items():
            if is_local(model.path):
                _class_index(model_id, model, resolve_folder(model.path))
        self._thread = ThreadPoolExecutor(1, "custom-models")
        self._closed = False
        self._loaded: dict[str, _Classifier] = {}
        self._fingerprints: dict[str, str] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """The registered ids, in the operator's order."""
        return tuple(self._models)

    def check(self, model_id: str) -> None:
        """Raises PiUsageError, with the registered ids, when `model_id` is not one of them."""
        if model_id not in self._models:
            known = ", ".join(map(repr, self._models)) or "none"
            raise PiUsageError(f"custom_model_id {model_id!r} is not registered with this engine. Registered: {known}.")

    def fingerprint(self, model_id: str) -> str:
        """Id, digests of weights and tokenizer, reading; never a path. Free after the first access or `load`.

        Raises:
            PiUsageError: `model_id` is not registered, or its folder is missing.
        """
        self.check(model_id)
        if model_id not in self._fingerprints:
            self._fingerprints[model_id] = _fingerprint(model_id, self._models[model_id])
        return self._fingerprints[model_id]

    async def load(self) -> None:
        """Loads every model off the loop; the engine calls it when it starts, so that a wrong path fails there.

        Raises:
            PiUsageError: A model cannot be loaded; says which and what to do.
        """
        for model_id in self._models:
            await self._on_thread(self._classifier, model_id)

    async def score(self, model_id: str, question: str, exchange: Exchange) -> Verdict:
        """The model's score of `exchange`; unscored when the text is longer than the model reads.

        Raises:
            PiUsageError: `model_id` is not registered, or its model cannot be loaded.
        """
        self.check(model_id)
        return await self._on_thread(self._score, model_id, question, exchange)

    async def aclose(self) -> None:
        """Finishes the call in flight, refuses calls that wait, stops the thread and frees the models."""
        self._closed = True
        await shut_down(self._thread)
        self._loaded.clear()

    async def _on_thread(self, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        self._refuse_if_closed()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise PiUsageError("The custom models are closed: make new ones.")

    def _score(self, model_id: str, question: str, exchange: Exchange) -> Verdict:
        first = f"{question}\n\n{exchange.llm_input}" if self._models[model_id].include_question else exchange.llm_input
        return self._classifier(model_id).score(first, exchange.llm_output)

    def _classifier(self, model_id: str) -> _Classifier:
        """The loaded model. Runs on the one thread, so that concurrent first calls load once."""
        self._refuse_if_closed()
        if model_id not in self._loaded:
            model = self._models[model_id]
            folder = resolve_folder(model.path)
            index = _class_index(model_id, model, folder)
            self._loaded[model_id] = _load_classifier(folder, index, device=self._device)
            self.fingerprint(model_id)
        return self._loaded[model_id]


def _fingerprint(model_id: str, model: CustomModel) -> str:
    reading = model.reading if model.positive_class is None else f"class={model.positive_class}"
    question = ":question" if model.include_question else ""
    return f"custom:{model_id}:{fingerprint_of(resolve_folder(model.path))}:{reading}{question}"


def _class_index(model_id: str, model: CustomModel, folder: Path) -> int:
    """The index of the logit to read; raises PiUsageError, with the classes, where they do not fit the reading."""
    classes = _classes(folder)
    shown = ", ".join(map(repr, classes))
    if model.positive_class is None:
        if len(classes) != 1:
            raise PiUsageError(
                f"Custom model {model_id!r} has {len(classes)} classes ({shown}): name the one whose probability is "
                "the score with positive_class."
            )
        return 0
    if len(classes) == 1:
        raise PiUsageError(f"Custom model {model_id!r} has one logit, read by its sigmoid: leave positive_class out.")
    if model.positive_class not in classes:
        raise PiUsageError(f"Custom model {model_id!r} has no class {model.positive_class!r}. Its classes: {shown}.")
    return classes.index(model.positive_class)


def _classes(folder: Path) -> Sequence[str]:
    """Class names by index; transformers' own default is two, LABEL_0 and LABEL_1."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = {int(index): str(name) for index, name in (config.get("id2label") or {}).items()}
        count = config.get("num_labels") or 2
    except (ValueError, AttributeError, TypeError) as error:
        raise PiUsageError(f"{folder / 'config.json'} is no model configuration ({error}).") from error
    return [names[index] for index in sorted(names)] or [f"LABEL_{index}" for index in range(count)]


@dataclass(frozen=True, slots=True)
class _Classifier:
    """A loaded sequence classifier for text pairs; belongs to one thread.

    Attributes:
        model: A transformers sequence-classification model in evaluation mode.
        encoder: Makes its tokens; no text can contain its separators.
        index: The logit to read.
        limit: Most tokens of a pair; None when nothing bounds it.
        takes_segments: Whether the model has an input for the text that each token belongs to.
    """

    model: Any
    encoder: TextEncoder
    index: int
    limit: int | None
    takes_segments: bool

    def score(self, first: str, second: str) -> Verdict:
        """The probability that the model gives the pair, in [0, 1], or why there is none."""
        try:
            pair = self.encoder.with_special_tokens(self.encoder.encode(first), self.encoder.encode(second))
        except UnreadableText as error:
            return Verdict.unscored(f"The exchange cannot be read: {error}.", method="model")
        if self.limit is not None and len(pair) > self.limit:
            reason = (
                f"The exchange is {len(pair):,} tokens and the model reads {self.limit:,}: "
                "shorten llm_input or llm_output, or register a model with a longer context."
            )
            return Verdict.unscored(reason, method="model")
        score = self._probability(self._logits(pair))
        if not math.isfinite(score):
            return Verdict.unscored("The model gave no finite logits: check its weights.", method="model")
        return Verdict(score, method="model", usage=Usage(calls=1, input_tokens=len(pair), output_tokens=0))

    def _logits(self, pair: Encoding) -> Tensor:
        import torch

        inputs = {"input_ids": pair.ids, "attention_mask": [1] * len(pair)}
        if self.takes_segments:
            inputs["token_type_ids"] = pair.type_ids
        tensors = {name: torch.tensor([values], device=self.model.device) for name, values in inputs.items()}
        with torch.inference_mode():
            logits: Tensor = self.model(**tensors).logits
            return logits[0].double()

    def _probability(self, logits: Tensor) -> float:
        """Classes that do not exclude each other are read by their own sigmoid."""
        several = self.model.config.problem_type == "multi_label_classification"
        shares = logits.sigmoid() if several or len(logits) == 1 else logits.softmax(-1)
        return float(shares[self.index])


def _load_classifier(folder: Path, index: int, *, device: Device) -> _Classifier:
    """The classifier in `folder`, read at logit `index`; raises PiUsageError when it cannot be loaded."""
    where, tokenizer = pick_device(device), load_tokenizer(folder)
    model = load_model("sequence-classification", folder, device=where, dtype="float32")
    return _Classifier(
        model=model,
        encoder=TextEncoder(tokenizer),
        index=index,
        limit=readable_tokens(model.config, tokenizer, reserved=reserved_positions(model)),
        takes_segments="token_type_ids" in tokenizer.model_input_names,
    )
