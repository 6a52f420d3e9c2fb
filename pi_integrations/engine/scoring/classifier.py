"""A loaded sequence classifier: a text pair in, a verdict out; everything here blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Encoding
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from pi_integrations.engine.judges.local.encoding import TextEncoder, UnreadableText
from pi_integrations.engine.judges.local.limits import readable_tokens
from pi_integrations.engine.judges.local.loading import Device, load_model, load_tokenizer, pick_device
from pi_integrations.engine.judges.protocol import Verdict
from pi_integrations.models import Usage

__all__ = ["Classifier", "load_classifier"]


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model that reads text pairs; belongs to one thread.

    Attributes:
        model: A transformers sequence-classification model in evaluation mode.
        encoder: Makes its tokens; texts cannot write its separators.
        index: The logit to read.
        limit: Most tokens of a pair; None when nothing bounds it.
        takes_segments: Whether the model is told which text a token belongs to.
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

    @torch.inference_mode()
    def _logits(self, pair: Encoding) -> Tensor:
        inputs = {"input_ids": pair.ids, "attention_mask": [1] * len(pair)}
        if self.takes_segments:
            inputs["token_type_ids"] = pair.type_ids
        tensors = {name: torch.tensor([values], device=self.model.device) for name, values in inputs.items()}
        logits: Tensor = self.model(**tensors).logits
        return logits[0].double()

    def _probability(self, logits: Tensor) -> float:
        """Classes that do not exclude each other are read by their own sigmoid."""
        several = self.model.config.problem_type == "multi_label_classification"
        shares = torch.sigmoid(logits) if several or len(logits) == 1 else torch.softmax(logits, dim=-1)
        return float(shares[self.index])


def load_classifier(folder: Path, index: int, *, device: Device) -> Classifier:
    """The classifier in `folder`, read at logit `index`.

    Raises:
        PiUsageError: It cannot be loaded.
    """
    where, tokenizer = pick_device(device), load_tokenizer(folder)
    model = load_model(AutoModelForSequenceClassification, folder, device=where, dtype="float32")
    return Classifier(
        model=model,
        encoder=TextEncoder(tokenizer),
        index=index,
        limit=readable_tokens(model.config, tokenizer, reserved=_reserved_positions(model)),
        takes_segments="token_type_ids" in tokenizer.model_input_names,
    )


def _reserved_positions(model: Any) -> int:
    """RoBERTa and its kin count positions from behind the padding index: 514 positions read 512 tokens."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0
