"""What a generating job does when single calls go wrong, and what it pays for: one prompt, one item, one answer."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from attempts import Attempt, Journal, inputs_family, pairs_family, request_for, run_attempt, run_job
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatResult
from pydantic import Field

from pi_integrations.engine.jobs.family import JobStopped
from pi_integrations.engine.judges.protocol import Verdict
from pi_integrations.engine.judges.scripted import ScriptedJudge
from pi_integrations.engine.scoring.code_questions import CodeRunner
from pi_integrations.engine.scoring.custom_models import CustomModels
from pi_integrations.engine.scoring.service import ScoreService, VerdictCache
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator
from pi_integrations.models import Usage

SEED = {"llm_input": "Where is my parcel?", "llm_output": "On its way."}
PLAIN: dict[str, Any] = {"seeds": [SEED], "exploration_mode": "CONSERVATIVE"}
OFFLINE = ScriptedGenerator(record=False)


class BadRequest(Exception):
    """As the OpenAI package raises it: a status, a code and the body's `error`."""

    status_code = 400

    def __init__(self, message: str, code: str | None = None, **body: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {"message": message, "code": code, **body}


def nth(number: int, kind: str, answer: Any) -> Any:
    """Gives `answer` to the prompt of this kind with this number, from 0, and the model's own to others."""
    seen = iter(range(1_000_000))
    return lambda prompt: answer if kind in prompt and next(seen) == number else None


# --- threads


class SynchronousGenerator(ScriptedGenerator):
    """Can only be called synchronously; every call takes its time."""

    _agenerate = BaseChatModel._agenerate

    def _generate(self, *args: Any, **given: Any) -> ChatResult:
        self.asked.append(threading.current_thread().name)
        time.sleep(self.latency)
        return super()._result(args[0])


async def test_a_synchronous_model_that_hangs_times_out_with_a_reason() -> None:
    """Its thread stays until the call returns; the job does not wait for it."""
    family = pairs_family(SynchronousGenerator(latency=0.5), timeout=0.05, patience=0.1, first_wait=0.01)
    begun = time.monotonic()
    with pytest.raises(JobStopped, match=r"no answer within 0\.05 s"):
        await run_job(family, 5, **PLAIN)
    assert time.monotonic() - begun < 0.4


# --- one prompt that is turned down


@pytest.mark.parametrize(
    "fault",
    [
        BadRequest("The response was filtered", "content_filter"),
        BadRequest("Your prompt was flagged", "invalid_prompt"),
        BadRequest("Bad request", innererror={"code": "ResponsibleAIPolicyViolation"}),
        BadRequest("Output blocked by content filtering policy"),
    ],
    ids=["azure", "openai", "inner", "words"],
)
async def test_a_filtered_prompt_is_one_refusal(fault: Exception) -> None:
    """Whether it was for a batch or for a response; the provider's code says so, or its words."""
    model = ScriptedGenerator(answers=nth(1, "new pairs", fault))
    result, journal = await run_job(pairs_family(model), 20, **PLAIN)
    assert len(journal.rows) == 20 and result["figures"]["declined"] == 1
    answering = ScriptedGenerator(answers=lambda prompt: refuse(prompt))
    refuse = nth(2, "", fault)
    result, journal = await run_job(pairs_family(answering), 10, system_prompt="Be brief.", **PLAIN)
    assert len(journal.rows) == 10 and result["figures"]["declined"] == 1


async def test_a_filtered_prompt_costs_nothing_and_keeps_the_ledger_whole() -> None:
    """A job with a ceiling continues, and its tokens are known."""
    model = ScriptedGenerator(answers=nth(1, "new pairs", BadRequest("filtered", "content_filter")))
    family = pairs_family(model, prices={"input_per_million": 1.0, "output_per_million": 1.0})
    result, journal = await run_job(family, 20, max_cost_usd=1.0, **PLAIN)
    assert len(journal.rows) == 20 and result["figures"]["cost_usd"] > 0


# --- one item that is too long, or no text


def reads_at_most(characters: int, said: Any) -> Any:
    """A model that reads so much, and otherwise gives what `said` gives."""

    def answer(prompt: str) -> Any:
        if len(prompt) > characters:
            return BadRequest("This model's maximum context length is 8192 tokens.", "context_length_exceeded")
        return said(prompt)

    return answer


def pairs(*outputs: str) -> str:
    """An answer of pairs with these outputs."""
    return json.dumps([{"llm_input": f"Question of {out[:9]} {len(out)}?", "llm_output": out} for out in outputs])


@pytest.mark.parametrize("length", [6_000, 30_000])
async def test_an_item_too_long_to_be_judged_is_malformed(length: int) -> None:
    """Its neighbours are kept, and the job continues."""
    told = pairs("A kite flies.", "again " * (length // 6), "Boats float.")
    model = ScriptedGenerator(answers=reads_at_most(5_000, nth(1, "new pairs", told)))
    result, journal = await run_job(pairs_family(model), 20, **PLAIN)
    assert len(journal.rows) == 20 and result["figures"]["malformed"] == 1
    assert {"A kite flies.", "Boats float."} <= {row["llm_output"] for row in journal.rows}


async def test_fewer_examples_are_shown_when_the_prompt_is_too_long() -> None:
    """Down to none; a description that is too long alone ends the job."""
    seeds = [{"llm_input": f"Where is parcel {n}?", "llm_output": f"{n} " * 1_000} for n in range(4)]
    model = ScriptedGenerator(answers=reads_at_most(5_000, lambda prompt: None))
    body = {"seeds": seeds, "exploration_mode": "CONSERVATIVE", "num_shots": 4}
    _, journal = await run_job(pairs_family(model), 5, **body)
    assert len(journal.rows) == 5
    with pytest.raises(JobStopped, match="longer than the generator reads"):
        await run_job(pairs_family(model), 5, application_description="Parcels. " * 1_000, **body)


async def test_a_response_too_long_to_be_asked_for_loses_its_item_only() -> None:
    """An input that leaves no room beside the system prompt."""
    told = json.dumps(["What flies?", "again " * 1_000, "What floats?"])
    model = ScriptedGenerator(answers=reads_at_most(5_000, nth(1, "new inputs", told)))
    result, journal = await run_job(pairs_family(model), 10, system_prompt="Be brief.", **PLAIN)
    assert len(journal.rows) == 10 and result["figures"]["malformed"] == 1


async def test_long_items_are_no_examples() -> None:
    """They are kept all the same."""
    model = ScriptedGenerator(answers=nth(0, "new pairs", pairs("again " * 2_000)))
    _, journal = await run_job(pairs_family(model), 30, **PLAIN)
    assert any(len(row["llm_output"]) > 9_000 for row in journal.rows)
    assert not any("again again" in prompt for prompt in model.asked if "new pairs" in prompt)


async def test_half_a_surrogate_pair_is_replaced() -> None:
    """Providers' packages cannot send one, nor can the engine."""

    def said(prompt: str) -> Any:
        prompt.encode()
        return told(prompt)

    told = nth(0, "new pairs", '[{"llm_input": "What is \\ud83d here?", "llm_output": "A half \\udc00 of one."}]')
    model = ScriptedGenerator(answers=said)
    _, journal = await run_job(pairs_family(model), 6, application_description="Faces \ud83d", **PLAIN)
    assert journal.rows[0] == {"llm_input": "What is \ufffd here?", "llm_output": "A half \ufffd of one."}
    assert any("Faces \ufffd" in prompt for prompt in model.asked)


async def test_duplicates_within_a_batch_are_not_answered() -> None:
    """Nor judged."""
    told = json.dumps(["What is a kite?", "What is a kite", "WHAT is a kite?", "How do boats float?"])
    model = ScriptedGenerator(answers=nth(0, "new inputs", told))
    result, journal = await run_job(pairs_family(model), 2, batch_size=4, system_prompt="Be brief.", **PLAIN)
    answers = [key for key in journal.calls if key.startswith("batch-0/answer")]
    assert answers == ["batch-0/answer-1", "batch-0/answer-4"] and result["figures"]["similar"] == 2


# --- odd answers, long waits


@pytest.mark.parametrize(
    "fault",
    [
        IndexError("list index out of range"),
        TypeError("Received response with null value for 'choices'"),
        ValueError("Unexpected response type. Expected a dict, got str: '<html>'"),
    ],
)
async def test_an_odd_body_is_asked_for_again(fault: Exception) -> None:
    """A few times, rather than for as long as a storm is waited out."""
    model = ScriptedGenerator(answers=nth(1, "", fault))
    _, journal = await run_job(pairs_family(model), 5, **PLAIN)
    assert len(journal.rows) == 5
    always = ScriptedGenerator(answers=lambda prompt: fault)
    with pytest.raises(JobStopped, match="did not pass in 4 tries"):
        await run_job(pairs_family(always), 5, **PLAIN)
    assert len(always.asked) == 4


async def test_a_wait_longer_than_patience_is_reported() -> None:
    """In the provider's number."""
    storm = BadRequest("slow down")
    storm.status_code, storm.retry_after = 429, 3600.0  # type: ignore[attr-defined]
    with pytest.raises(JobStopped, match=r"asks to wait for 3600 s, and a job waits for 900 s at most"):
        await run_job(pairs_family(ScriptedGenerator(answers=lambda prompt: storm)), 5, **PLAIN)


# --- what is paid


def judged_at(dollars: float) -> tuple[ScriptedJudge, ScoreService]:
    """A judge whose every verdict costs so much."""
    judge = ScriptedJudge(lambda exchange, question: Verdict(0.9, usage=Usage(calls=1, cost_usd=dollars)))
    return judge, ScoreService(judge, CodeRunner(), CustomModels({}), VerdictCache(0), judge_timeout=5.0)


@pytest.mark.parametrize(("ceiling", "parallel"), [(0.02, False), (0.2, False), (0.2, True)])
async def test_what_judges_cost_stays_below_the_ceiling(ceiling: float, parallel: bool) -> None:
    """The first score is had alone, and shows what the others may cost."""
    judge, service = judged_at(0.01)
    family = pairs_family(
        ScriptedGenerator(), service=service, prices={"input_per_million": 0.01, "output_per_million": 0.01}
    )
    body = {"scoring_spec": [{"question": "Is it polite?"}], "batch_size": 10, "run_parallel_batches": parallel}
    result, _ = await run_job(family, 100, max_cost_usd=ceiling, **body, **PLAIN)
    assert "stopped" in result and 0 < len(judge.asked) * 0.01 <= ceiling


class WordyGenerator(ScriptedGenerator):
    """Writes up to its limit: 20,000 tokens, unless it is told to be shorter."""

    max_tokens: int | None = None
    refuses: int = 1_000_000
    spent: list[int] = Field(default_factory=list)

    async def _agenerate(self, messages: Any, *args: Any, **given: Any) -> ChatResult:
        if (self.max_tokens or 0) > self.refuses:
            raise BadRequest(f"max_tokens is too large: {self.max_tokens}")
        result = await super()._agenerate(messages, *args, **given)
        written = min(20_000, self.max_tokens or 20_000)
        self.spent.append(100 + written)
        usage = {"input_tokens": 100, "output_tokens": written, "total_tokens": 100 + written}
        result.generations[0].message = AIMessage(str(result.generations[0].message.text), usage_metadata=usage)
        return result


@pytest.mark.parametrize("ceiling", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("parallel", [False, True])
async def test_answers_of_any_length_stay_below_the_ceiling(ceiling: float, parallel: bool) -> None:
    """Where the model can be told how long an answer may be."""
    model = WordyGenerator()
    family = pairs_family(model, prices={"input_per_million": 1.0, "output_per_million": 1.0})
    body = {"run_parallel_batches": parallel, "system_prompt": "Be brief.", "max_cost_usd": ceiling}
    result, _ = await run_job(family, 1000, **body, **PLAIN)
    assert 0.4 * ceiling < sum(model.spent) / 1e6 <= ceiling and "stopped" in result
    assert result["figures"]["cost_usd"] == pytest.approx(sum(model.spent) / 1e6)


async def test_a_limit_that_the_provider_refuses_is_left_out() -> None:
    """It is then above what the model can write at all."""
    model = WordyGenerator(refuses=30_000)
    family = pairs_family(model, prices={"input_per_million": 1.0, "output_per_million": 1.0})
    result, journal = await run_job(family, 20, max_cost_usd=100.0, **PLAIN)
    assert len(journal.rows) == 20 and "stopped" not in result


async def test_a_response_that_was_cut_off_is_malformed() -> None:
    """It is not what the application would say."""
    cut = AIMessage("It left our", response_metadata={"finish_reason": "length"})
    model = ScriptedGenerator(answers=lambda prompt: cut if "The tag is" not in prompt else None)
    family = pairs_family(model, give_up_after=2)
    with pytest.raises(JobStopped, match="10 malformed"):
        await run_job(family, 5, system_prompt="Be brief.", **PLAIN)


# --- figures


async def test_what_a_failing_batch_cost_is_in_the_figures() -> None:
    """With the answers paid for before the fault; a further attempt ends in the same way."""
    model = ScriptedGenerator(answers=nth(1, "verdicts", BadRequest("no such model", "model_not_found")))
    family, journal = pairs_family(model), Journal()
    request = request_for(family, 20, **PLAIN)
    with pytest.raises(JobStopped, match="no such model"):
        await run_attempt(family, request, Attempt(journal))
    paid = [json.loads(answer)["tokens"][0] for answer in journal.answers.values()]
    assert len(paid) == 3 and journal.figures["input_tokens"] == sum(paid)
    before = journal.figures
    with pytest.raises(JobStopped, match="no such model"):
        await run_attempt(family, request, Attempt(journal))
    assert journal.figures == before and sum(line.startswith("Made ") for line in journal.messages) == 1


async def test_the_cost_of_running_batches_is_reported_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that little is missing when a job is cancelled."""
    monkeypatch.setattr("pi_integrations.engine.synthesis.generation._COST_EVERY", 0.0)
    family = inputs_family(ScriptedGenerator())
    request = request_for(family, 5, seeds=["Where is it?"], exploration_mode="CONSERVATIVE")
    for dies_at in range(1, 40):
        journal = Journal()
        await run_attempt(family, request, Attempt(journal, dies_at))
        if "batch-0/items" in journal.answers and not journal.rows and journal.figures["input_tokens"]:
            return
    pytest.fail("never reported before the batch was settled")


async def test_the_temperature_reported_is_the_one_used() -> None:
    """A provider that takes none above 1 is not said to have been asked at 1.3."""

    class Cool(ScriptedGenerator):
        async def _agenerate(self, *args: Any, **given: Any) -> Any:
            if self.temperature > 1.0:
                raise BadRequest("temperature must be 1 at most")
            return await super()._agenerate(*args, **given)

    result, journal = await run_job(pairs_family(Cool()), 5, seeds=[SEED], exploration_mode="ADVENTUROUS")
    told = [json.loads(line)["temperature"] for line in journal.messages if line.startswith("{")]
    assert result["figures"]["temperature"] == 1.0 and set(told) == {1.0}
