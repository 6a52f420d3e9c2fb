"""The two families of generating jobs, as the job engine runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from pi_integrations.engine.chat_models.asking import ChatModel, Embedder, Role
from pi_integrations.engine.chat_models.budget import checked_prices
from pi_integrations.engine.chat_models.failures import Patience
from pi_integrations.engine.jobs.family import FamilyWork, JobStopped, Run
from pi_integrations.engine.scoring.service import ScoreService
from pi_integrations.engine.synthesis.accepted_items import AcceptedItems
from pi_integrations.engine.synthesis.generation import Generation, Tools
from pi_integrations.engine.synthesis.items import GenerationRequest
from pi_integrations.errors import PiUsageError
from pi_integrations.models.data import GenerateInputsRequest, GeneratePairsRequest
from pi_integrations.models.families import GENERATE_INPUTS, GENERATE_PAIRS

__all__ = ["synthesis_families"]

_Request = GeneratePairsRequest | GenerateInputsRequest
_ROLE = Role("generator", reads="prompt of description, seeds and examples", run="pi_generator")
_NO_PRICES = (
    "max_cost_usd needs an engine that knows what its generator costs. Leave it out, or give the engine the generator's"
    " prices in US dollars per million tokens"
)


def synthesis_families(
    generator: BaseChatModel,
    service: ScoreService | None,
    *,
    prices: Mapping[str, float] | None = None,
    embeddings: Embeddings | None = None,
    calls_at_a_time: int = 8,
    timeout: float = 120.0,
    patience: float = 900.0,
    first_wait: float = 1.0,
    give_up_after: int = 20,
    similarity: float = 0.7,
    cosine: float = 0.95,
) -> list[FamilyWork[Any]]:
    """The families of `/data/generate_input_response_pairs` and `/data/generate`.

    Args:
        generator: Writes, answers and judges.
        service: Scores the pairs of jobs with a scoring spec.
        prices: US dollars per million tokens: `input_per_million` and `output_per_million`.
        embeddings: Finds inputs that mean the same in other words; without it only the wording is compared.
        calls_at_a_time: The most calls to the generator at a time, over all jobs; also the most batches at a time of a
            job with `run_parallel_batches`.
        timeout: Seconds for one call.
        patience: Seconds for which rate limits, server errors and time-outs are waited out.
        first_wait: Seconds of the first such wait, doubled for each one after, up to a minute.
        give_up_after: How many batches in a row may bring nothing new before a job ends.
        similarity: Jaccard similarity of two inputs, above 0 and up to 1, from which the later one is a near-duplicate.
        cosine: Cosine of two inputs' embeddings, above 0 and up to 1, from which the later one is a near-duplicate.

    Raises:
        PiUsageError: when an argument is out of its range.
    """
    _check_numbers(calls_at_a_time=calls_at_a_time, timeout=timeout, first_wait=first_wait, give_up_after=give_up_after)
    AcceptedItems(similarity, cosine)  # checks their ranges
    tools = Tools(
        generator=ChatModel(generator, _ROLE, timeout=timeout, max_concurrency=calls_at_a_time),
        service=service,
        patience=Patience(patience, first_wait),
        prices=checked_prices(prices),
        embedder=None if embeddings is None else Embedder(embeddings, timeout=timeout),
        parallel_batches=calls_at_a_time,
        give_up_after=give_up_after,
        similarity=similarity,
        cosine=cosine,
    )
    return _families(tools)


def _families(tools: Tools) -> list[FamilyWork[Any]]:
    def check(request: _Request) -> None:
        _check_request(request, tools)

    async def work(request: _Request, run: Run) -> Mapping[str, Any]:
        try:
            # The process that accepted the job may have known other prices.
            check(request)
            return await Generation(GenerationRequest.of(request), run, tools).work()
        except PiUsageError as error:
            raise JobStopped(str(error)) from None

    pairs: FamilyWork[GeneratePairsRequest] = FamilyWork(GENERATE_PAIRS, work, check=check)
    inputs: FamilyWork[GenerateInputsRequest] = FamilyWork(GENERATE_INPUTS, work, check=check)
    return [pairs, inputs]


def _check_request(request: _Request, tools: Tools) -> None:
    if request.max_cost_usd is not None and tools.prices is None:
        raise PiUsageError(_NO_PRICES)
    if isinstance(request, GeneratePairsRequest) and request.scoring_spec is not None:
        if tools.service is None:
            raise PiUsageError("this engine scores nothing; leave scoring_spec out")
        tools.service.check(request.scoring_spec)


def _check_numbers(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise PiUsageError(f"{name} is {value}; it must be above 0")
