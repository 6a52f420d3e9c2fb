"""Custom models: sequence classifiers that the operator registered, for `CUSTOM_MODEL_SCORER` questions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

from pi_integrations.engine.judges.local.loading import Device, is_local, require_local_extra, resolve_folder
from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.engine.scoring.custom_model import CustomModel, class_index, fingerprint_of
from pi_integrations.engine.threads import shut_down
from pi_integrations.errors import PiUsageError

if TYPE_CHECKING:
    from pi_integrations.engine.scoring.classifier import Classifier

__all__ = ["CustomModel", "CustomModels"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


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
                class_index(model_id, model, resolve_folder(model.path))
        self._thread = ThreadPoolExecutor(1, "custom-models")
        self._closed = False
        self._loaded: dict[str, Classifier] = {}
        self._fingerprints: dict[str, str] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """The registered ids, in the operator's order."""
        return tuple(self._models)

    def check(self, model_id: str) -> None:
        """Returns when `model_id` is registered.

        Raises:
            PiUsageError: It is not; names those that are.
        """
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
            self._fingerprints[model_id] = fingerprint_of(model_id, self._models[model_id])
        return self._fingerprints[model_id]

    async def load(self) -> None:
        """Loads every model off the loop; the engine calls it at start so that a wrong path fails there.

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
        """Lets the call in flight end, refuses those that wait, stops the thread and frees the models."""
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

    def _classifier(self, model_id: str) -> Classifier:
        """Runs on the one thread, so that concurrent first calls load once."""
        self._refuse_if_closed()
        if model_id not in self._loaded:
            from pi_integrations.engine.scoring.classifier import load_classifier

            model = self._models[model_id]
            folder = resolve_folder(model.path)
            index = class_index(model_id, model, folder)
            self._loaded[model_id] = load_classifier(folder, index, device=self._device)
            self.fingerprint(model_id)
        return self._loaded[model_id]
