"""Plans of generation jobs: the command line's seeds, texts and numbers, made into a request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from pi_integrations.cli.rows import read_rows
from pi_integrations.cli.spec_files import load_spec
from pi_integrations.errors import PiUsageError
from pi_integrations.models.families import GENERATE_INPUTS, GENERATE_PAIRS

__all__ = ["GENERATED_KINDS", "GenerationPlan", "InputsPlan", "PairsPlan"]

GENERATED_KINDS = (GENERATE_PAIRS.kind, GENERATE_INPUTS.kind)
"""The kinds of jobs that `generate` has a command for; they need a generator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationPlan(ABC):
    """A job to start; None stands for the service's default.

    Attributes:
        kind: Kind of the job, in the registry of families.
        num: Number of items.
        seeds: File of seeds; None for none.
        columns: Columns of the seeds' fields, where they differ.
        description: What the application does, or `@FILE`.
        settings: Further fields of the request, by name.
    """

    kind: ClassVar[str]

    num: int | None = None
    seeds: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @abstractmethod
    def request(self) -> dict[str, Any]:
        """The arguments of `start_job`.

        Raises:
            PiUsageError: naming the file, and the row, that cannot be used.
        """

    @property
    def empty(self) -> bool:
        """Whether no option describes a new job."""
        values = (getattr(self, each.name) for each in fields(self) if each.name != "settings")
        return not any([*values, *self.settings.values()])

    def _num(self) -> int:
        if self.num is None:
            raise PiUsageError("--num is missing: how many to generate; or continue a job: --job JOB_ID")
        return self.num

    def _common(self) -> dict[str, Any]:
        return {"application_description": _text("--description", self.description), **self.settings}

    def _seeds(self, *needed: str) -> list[tuple[str, ...]]:
        """The `needed` texts of each seed; a row without them is an error."""
        if self.seeds is None:
            return []
        seeds = []
        for row in read_rows(self.seeds, columns=self.columns, needed=needed):
            if row.error:
                raise PiUsageError(f"--seeds {self.seeds}: {row.error}")
            seeds.append(tuple(getattr(row, name) for name in needed))
        return seeds


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsPlan(GenerationPlan):
    """Pairs of an input and the response to it.

    Attributes:
        system_prompt: The application's own, or `@FILE`.
        spec: File of a scoring spec.
    """

    kind: ClassVar[str] = GENERATE_PAIRS.kind

    system_prompt: str | None = None
    spec: Path | None = None

    def request(self) -> dict[str, Any]:
        """See `GenerationPlan.request`."""
        return {
            "num_pairs_to_generate": self._num(),
            "seeds": self._seeds("llm_input", "llm_output"),
            "system_prompt": _text("--system-prompt", self.system_prompt),
            "scoring_spec": load_spec(self.spec) if self.spec else None,
            **self._common(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsPlan(GenerationPlan):
    """Inputs alone."""

    kind: ClassVar[str] = GENERATE_INPUTS.kind

    def request(self) -> dict[str, Any]:
        """See `GenerationPlan.request`."""
        return {
            "num_inputs_to_generate": self._num(),
            "seeds": [llm_input for (llm_input,) in self._seeds("llm_input")],
            **self._common(),
        }


def _text(option: str, text: str | None) -> str | None:
    """`text` itself, or the content of the file that `@FILE` names.

    Raises:
        PiUsageError: when the file cannot be read.
    """
    if text is None or not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PiUsageError(f"{option} {text}: cannot read {path}: {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        raise PiUsageError(f"{option} {text}: not valid UTF-8 (byte {error.start + 1}); save it as UTF-8") from None
