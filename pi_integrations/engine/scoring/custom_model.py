"""One registered model: where it is, and which of its outputs is the score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pi_integrations.engine.judges.local.identity import tokenizer_digest, weights_digest
from pi_integrations.engine.judges.local.loading import resolve_folder
from pi_integrations.errors import PiUsageError

__all__ = ["CustomModel", "class_index", "fingerprint_of"]


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


def fingerprint_of(model_id: str, model: CustomModel) -> str:
    """Id, digests of weights and tokenizer, reading."""
    folder = resolve_folder(model.path)
    reading = model.reading if model.positive_class is None else f"class={model.positive_class}"
    asked = ":question" if model.include_question else ""
    weights, tokenizer = weights_digest(folder)[:16], tokenizer_digest(folder)[:16]
    return f"custom:{model_id}:weights={weights}:tokenizer={tokenizer}:{reading}{asked}"


def class_index(model_id: str, model: CustomModel, folder: Path) -> int:
    """Index of the logit to read.

    Raises:
        PiUsageError: The model's classes do not fit the reading; lists them.
    """
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
