"""`client.data`: synthetic data, made by jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pi_integrations.client.calls import Calls
from pi_integrations.client.job_routes import JobRoutes
from pi_integrations.client.jobs import Job, JobResource
from pi_integrations.client.resources.scoring_system import SpecLike
from pi_integrations.client.resources.seeds import PairLike, pair_fields
from pi_integrations.errors import PiUsageError
from pi_integrations.models import (
    ExplorationMode,
    GenerateInputsRequest,
    GeneratePairsRequest,
    InputResponsePair,
    SyntheticDataStatus,
    SyntheticInputsStatus,
    describe,
    parse_spec,
    render,
)
from pi_integrations.models.families import GENERATE_INPUTS, GENERATE_PAIRS

__all__ = ["Data", "GenerateInputResponsePairs", "GenerateInputs"]

ModelT = TypeVar("ModelT", bound=BaseModel)


class GenerateInputResponsePairs(JobResource[GeneratePairsRequest, SyntheticDataStatus, InputResponsePair]):
    """`client.data.generate_input_response_pairs`: jobs that make pairs of an input and the response to it."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(JobRoutes(calls, GENERATE_PAIRS))

    async def start_job(
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
        """A job that makes new pairs, started. A start that has to be tried again never makes a second job.

        Args:
            num_pairs_to_generate: How many, 1 to 100,000.
            seeds: Pairs to start from: `InputResponsePair`, mappings with `llm_input` and `llm_output`, or tuples of
                the two. With none, they are invented from the description and the system prompt.
            application_description: What the application does.
            system_prompt: The application's own; it answers the generated inputs when given.
            batch_size: Pairs asked of the model in one call, 1 to 10; default 5.
            num_shots: Example pairs shown to it in one call, 0 to 50; default 5.
            exploration_mode: CONSERVATIVE, BALANCED (default), CREATIVE or ADVENTUROUS.
            run_parallel_batches: Whether several batches are made at a time; default no.
            scoring_spec: Judges each pair; see `scoring_system.score`.
            min_score: Lowest total score a pair may have, 0 to 1; needs `scoring_spec`.
            max_cost_usd: The job stops before its model costs more, in US dollars.
            webhook_url: Told when the job ends, if the engine's operator allows that host.
            idempotency_key: The same key and arguments give the same job, whoever starts it; default a new key.

        Raises:
            PiUsageError: the arguments are wrong; the message names index and field, and nothing was sent.
            PiStatusError: the service refused, retries included; 409 when the key started another job.
            PiConnectionError: no whole answer came, retries included. The job may have been started: try again with
                the same `idempotency_key`.
        """
        given = {
            "num_pairs_to_generate": num_pairs_to_generate,
            "seeds": pair_fields(seeds),
            "application_description": application_description,
            "system_prompt": system_prompt,
            "batch_size": batch_size,
            "num_shots": num_shots,
            "exploration_mode": exploration_mode,
            "run_parallel_batches": run_parallel_batches,
            "scoring_spec": parse_spec(scoring_spec) if scoring_spec is not None else None,
            "min_score": min_score,
            "max_cost_usd": max_cost_usd,
            "webhook_url": webhook_url,
        }
        return await self._start(_checked(GeneratePairsRequest, given), idempotency_key)


class GenerateInputs(JobResource[GenerateInputsRequest, SyntheticInputsStatus, str]):
    """`client.data.generate`: jobs that make inputs alone."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(JobRoutes(calls, GENERATE_INPUTS))

    async def start_job(
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
        """A job that makes new inputs, started. A start that has to be tried again never makes a second job.

        Args:
            num_inputs_to_generate: How many, 1 to 100,000.
            seeds: Inputs to start from. With none, they are invented from the description.
            application_description: What the application does.
            batch_size: Inputs asked of the model in one call, 1 to 125; default 10.
            num_shots: Example inputs shown to it in one call, 0 to 50; default 10.
            exploration_mode: CONSERVATIVE, BALANCED (default), CREATIVE or ADVENTUROUS.
            run_parallel_batches: Whether several batches are made at a time; default no.
            max_cost_usd: The job stops before its model costs more, in US dollars.
            webhook_url: Told when the job ends, if the engine's operator allows that host.
            idempotency_key: The same key and arguments give the same job, whoever starts it; default a new key.

        Raises:
            PiUsageError: the arguments are wrong; the message names index and field, and nothing was sent.
            PiStatusError: the service refused, retries included; 409 when the key started another job.
            PiConnectionError: no whole answer came, retries included. The job may have been started: try again with
                the same `idempotency_key`.
        """
        if isinstance(seeds, str) or not isinstance(seeds, Iterable):
            raise PiUsageError(f"seeds is a {type(seeds).__name__}; give a list of strings, which may be empty")
        given = {
            "num_inputs_to_generate": num_inputs_to_generate,
            "seeds": list(seeds),
            "application_description": application_description,
            "batch_size": batch_size,
            "num_shots": num_shots,
            "exploration_mode": exploration_mode,
            "run_parallel_batches": run_parallel_batches,
            "max_cost_usd": max_cost_usd,
            "webhook_url": webhook_url,
        }
        return await self._start(_checked(GenerateInputsRequest, given), idempotency_key)


class Data:
    """`client.data`: families of jobs that make data."""

    def __init__(self, calls: Calls) -> None:
        self.generate_input_response_pairs = GenerateInputResponsePairs(calls)
        self.generate = GenerateInputs(calls)


def _checked(model: type[ModelT], given: Mapping[str, Any]) -> ModelT:
    """The request, from the arguments that were given; what was not is the service's to choose."""
    try:
        return model.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise PiUsageError(render(describe(error))) from None
