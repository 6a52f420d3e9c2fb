"""`client.data`: synthetic data, made by jobs; and the resource of every registered family of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pi_integrations.client.calls import Calls
from pi_integrations.client.jobs import Job, JobResource
from pi_integrations.errors import PiUsageError
from pi_integrations.models import (
    ExplorationMode,
    GenerateInputsRequest,
    GeneratePairsRequest,
    InputResponsePair,
    SpecLike,
    SyntheticDataStatus,
    SyntheticInputsStatus,
    families,
)
from pi_integrations.models.families import GENERATE_INPUTS, GENERATE_PAIRS

__all__ = ["Data", "GenerateInputResponsePairs", "GenerateInputs", "job_resources"]

PairLike = InputResponsePair | Mapping[str, Any] | tuple[str, str]
_SEED_FIELDS = ("llm_input", "llm_output")


def job_resources(calls: Calls, *typed: JobResource[Any, Any, Any]) -> dict[str, JobResource[Any, Any, Any]]:
    """The resource of each registered family by its kind, in registry order: one of `typed`, else a generic one."""
    known = {resource.family.kind: resource for resource in typed}
    return {family.kind: known.get(family.kind) or JobResource(calls, family) for family in families.FAMILIES}


class Data:
    """`client.data`: the families of jobs that make data, with typed signatures."""

    def __init__(self, calls: Calls) -> None:
        self.generate_input_response_pairs = GenerateInputResponsePairs(calls, GENERATE_PAIRS)
        self.generate = GenerateInputs(calls, GENERATE_INPUTS)

    @property
    def families(self) -> tuple[JobResource[Any, Any, Any], ...]:
        """The resources of these families."""
        return (self.generate_input_response_pairs, self.generate)


class GenerateInputResponsePairs(JobResource[GeneratePairsRequest, SyntheticDataStatus, InputResponsePair]):
    """`client.data.generate_input_response_pairs`: jobs that make pairs of an input and the response to it."""

    async def start_job(  # type: ignore[override]
        self,
        *,
        num_pairs_to_generate: int,
        seeds: Iterable[PairLike],
        application_description: str | None = None,
        system_prompt: str | None = None,
        batch_size: int | None = None,
        num_shots: int | None = None,
        exploration_mode: ExplorationMode | str | None = None,
        run_parallel_batches: bool | None = None,
        scoring_spec: SpecLike | None = None,
        min_score: float | None = None,
        max_cost_usd: float | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job[SyntheticDataStatus, InputResponsePair]:
        """A new job that makes pairs. A start that is retried never makes a second one.

        Args:
            num_pairs_to_generate: How many, 1 to 100,000.
            seeds: Pairs to start from: `InputResponsePair`, mappings with `llm_input` and `llm_output`, or tuples of
                the two. With none, they are invented from the description and the system prompt.
            application_description: What the application does.
            system_prompt: The application's own; it answers the generated inputs when given.
            batch_size: Pairs requested from the model in one call, 1 to 10; default 5.
            num_shots: Example pairs shown to it in one call, 0 to 50; default 5.
            exploration_mode: CONSERVATIVE, BALANCED (default), CREATIVE or ADVENTUROUS.
            run_parallel_batches: Whether several batches are made at a time; default no.
            scoring_spec: Judges each pair; see `scoring_system.score`.
            min_score: Lowest total score a pair may have, 0 to 1; needs `scoring_spec`.
            max_cost_usd: The job stops before its model costs more, in US dollars.
            webhook_url: Notified when the job ends, if the engine's operator allows that host.
            idempotency_key: The same key and arguments give the same job; default a new key.

        Raises:
            PiError: see `JobResource.start_job`; a wrong argument is named by field and index.
        """
        fields = dict(locals())  # the arguments, which have the names of the wire
        del fields["self"], fields["idempotency_key"]
        fields["seeds"] = _pairs(seeds)
        return await self._start(fields, idempotency_key)


class GenerateInputs(JobResource[GenerateInputsRequest, SyntheticInputsStatus, str]):
    """`client.data.generate`: jobs that make inputs alone."""

    async def start_job(  # type: ignore[override]
        self,
        *,
        num_inputs_to_generate: int,
        seeds: Iterable[str],
        application_description: str | None = None,
        batch_size: int | None = None,
        num_shots: int | None = None,
        exploration_mode: ExplorationMode | str | None = None,
        run_parallel_batches: bool | None = None,
        max_cost_usd: float | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job[SyntheticInputsStatus, str]:
        """A new job that makes inputs. A start that is retried never makes a second one.

        Args:
            num_inputs_to_generate: How many, 1 to 100,000.
            seeds: Inputs to start from. With none, they are invented from the description.
            application_description: What the application does.
            batch_size: Inputs requested from the model in one call, 1 to 125; default 10.
            num_shots: Example inputs shown to it in one call, 0 to 50; default 10.
            exploration_mode: CONSERVATIVE, BALANCED (default), CREATIVE or ADVENTUROUS.
            run_parallel_batches: Whether several batches are made at a time; default no.
            max_cost_usd: The job stops before its model costs more, in US dollars.
            webhook_url: Notified when the job ends, if the engine's operator allows that host.
            idempotency_key: The same key and arguments give the same job; default a new key.

        Raises:
            PiError: see `JobResource.start_job`; a wrong argument is named by field and index.
        """
        fields = dict(locals())  # the arguments, which have the names of the wire
        del fields["self"], fields["idempotency_key"]
        fields["seeds"] = _texts(seeds)
        return await self._start(fields, idempotency_key)


def _pairs(seeds: Iterable[PairLike]) -> list[dict[str, Any]]:
    """The two fields of each seed, unchecked; other fields are left out."""
    if isinstance(seeds, str | Mapping) or not isinstance(seeds, Iterable):
        raise PiUsageError(f"seeds is a {type(seeds).__name__}; give a list of pairs, which may be empty")
    return [_pair(index, seed) for index, seed in enumerate(seeds)]


def _pair(index: int, seed: Any) -> dict[str, Any]:
    if isinstance(seed, InputResponsePair):
        return {name: getattr(seed, name) for name in _SEED_FIELDS}
    if isinstance(seed, Mapping):
        return {name: seed[name] for name in _SEED_FIELDS if name in seed}
    if isinstance(seed, tuple | list) and len(seed) == len(_SEED_FIELDS):
        return dict(zip(_SEED_FIELDS, seed, strict=True))
    raise PiUsageError(
        f"seeds[{index}] is a {type(seed).__name__}; give an InputResponsePair, a mapping with llm_input and"
        " llm_output, or a tuple of the two"
    )


def _texts(seeds: Iterable[str]) -> list[str]:
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise PiUsageError(f"seeds is a {type(seeds).__name__}; give a list of strings, which may be empty")
    return list(seeds)
