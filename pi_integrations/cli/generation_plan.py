"""What is to be generated, as the command line says it: seeds, texts and numbers into a request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from pi_integrations.cli.rows import read_rows
from pi_integrations.cli.spec_files import load_spec
from pi_integrations.client import AsyncPiClient
from pi_integrations.client.jobs import Job, JobResource
from pi_integrations.errors import PiUsageError

__all__ = ["InputsPlan", "PairsPlan", "Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(ABC):
    """A job to start; None stands for the service's default.

    Attributes:
        num: How many items.
        seeds: File of seeds; None for none.
        columns: Which columns of that file hold a field.
        description: What the application does, or `@FILE`.
        others: Further fields of the request, as they are.
    """

    noun: ClassVar[str]

    num: int | None = None
    seeds: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    @abstractmethod
    def resource(client: AsyncPiClient) -> JobResource[Any, Any, Any]:
        """The family of jobs."""

    @abstractmethod
    def request(self) -> dict[str, Any]:
        """The arguments of `start_job`.

        Raises:
            PiUsageError: naming the file, and the row, that cannot be used.
        """

    @property
    def empty(self) -> bool:
        """Whether nothing is asked for."""
        values = (getattr(self, each.name) for each in fields(self) if each.name != "others")
        return not any([*values, *self.others.values()])

    async def start(self, client: AsyncPiClient, request: Mapping[str, Any]) -> Job[Any, Any]:
        """The job of a `request`, started."""
        job: Job[Any, Any] = await self.resource(client).start_job(**request)  # type: ignore[attr-defined]
        return job

    def _num(self) -> int:
        if self.num is None:
            raise PiUsageError("--num is missing: how many to generate; or go on with a job: --job JOB_ID")
        return self.num

    def _common(self) -> dict[str, Any]:
        return {"application_description": text_or_file("--description", self.description), **self.others}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsPlan(Plan):
    """Pairs of an input and the response to it.

    Attributes:
        system_prompt: The application's own, or `@FILE`.
        spec: File of a scoring spec.
    """

    noun: ClassVar[str] = "pairs"

    system_prompt: str | None = None
    spec: Path | None = None

    @staticmethod
    def resource(client: AsyncPiClient) -> JobResource[Any, Any, Any]:
        """See `Plan.resource`."""
        return client.data.generate_input_response_pairs

    def request(self) -> dict[str, Any]:
        """See `Plan.request`."""
        rows = _rows(self.seeds, self.columns, ("llm_input", "llm_output"))
        return {
            "num_pairs_to_generate": self._num(),
            "seeds": [(row["llm_input"], row["llm_output"]) for row in rows],
            "system_prompt": text_or_file("--system-prompt", self.system_prompt),
            "scoring_spec": load_spec(self.spec) if self.spec else None,
            **self._common(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsPlan(Plan):
    """Inputs alone."""

    noun: ClassVar[str] = "inputs"

    @staticmethod
    def resource(client: AsyncPiClient) -> JobResource[Any, Any, Any]:
        """See `Plan.resource`."""
        return client.data.generate

    def request(self) -> dict[str, Any]:
        """See `Plan.request`."""
        rows = _rows(self.seeds, self.columns, ("llm_input",))
        return {
            "num_inputs_to_generate": self._num(),
            "seeds": [row["llm_input"] for row in rows],
            **self._common(),
        }


def text_or_file(option: str, text: str | None) -> str | None:
    """`text` itself, or what the file holds that `@FILE` names.

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


def _rows(path: Path | None, columns: Mapping[str, str], needed: tuple[str, ...]) -> list[dict[str, str]]:
    """The seeds of a file, every one of them usable."""
    if path is None:
        return []
    seeds = []
    for row in read_rows(path, columns=columns, needed=needed):
        if row.error:
            raise PiUsageError(f"--seeds {path}: {row.error}")
        seeds.append({"llm_input": row.llm_input, "llm_output": row.llm_output})
    return seeds
