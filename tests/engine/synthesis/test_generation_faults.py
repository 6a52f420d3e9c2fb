"""What a generating job does when the model does not behave, or its provider does not."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from attempts import Attempt, Journal, inputs_family, pairs_family, request_for, run_attempt, run_job
from langchain_core.messages import AIMessage
from pydantic import SecretStr

from pi_integrations.engine.jobs.family import JobStopped
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator

SEED = {"llm_input": "Where is my parcel?", "llm_output": "On its way."}
DOLLAR_A_CALL = {"input_per_million": 10_000.0, "output_per_million": 0.0}


class ProviderError(Exception):
    """As providers' packages raise them: a status, and a response with headers."""

    def __init__(self, message: str, status: int, **headers: str) -> None:
        super().__init__(message)
        self.status_code = status
        self.response = type("Response", (), {"headers": {k.replace("_", "-"): v for k, v in headers.items()}})()


def first(count: int, fault: Any) -> Callable[[str], Any]:
    """Gives `fault` to the first `count` prompts."""
    left = [fault] * count
    return lambda prompt: left.pop() if left else None


def batches_say(answer: str | BaseException | AIMessage) -> Callable[[str], Any]:
    """Gives `answer` to every prompt for items, and the model's own to others."""
    return lambda prompt: answer if "new pairs" in prompt or "new inputs" in prompt else None


async def stopped(model: ScriptedGenerator, count: int = 10, given: dict[str, Any] | None = None, **body: Any) -> str:
    """Why the job ended in ERROR."""
    with pytest.raises(JobStopped) as caught:
        await run_job(pairs_family(model, **(given or {})), count, **{"seeds": [SEED], **body})
    return str(caught.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I would rather chat about the weather.", "20 unreadable answers"),
        ("[]", "20 empty answers"),
        (json.dumps([SEED]), "20 similar"),
        ('[{"llm_input": "A question alone"}]', "20 malformed"),
        (AIMessage("", response_metadata={"finish_reason": "content_filter"}), "20 refusals"),
        (ProviderError("ContentFilter", 400), ""),
    ],
    ids=["prose", "empty", "same", "half", "refused", "bad request"],
)
async def test_a_model_with_nothing_to_give_ends_the_job_with_the_reason(answer: Any, said: str) -> None:
    """After 20 batches in a row that brought nothing; at once where asking again is useless."""
    model = ScriptedGenerator(answers=batches_say(answer))
    reason = await stopped(model)
    if said:
        assert (
            f"made 0 of 10 pairs; the last 20 batches brought nothing new ({said})" in reason and "To go on" in reason
        )
        assert sum("new pairs" in prompt for prompt in model.asked) == 20
    else:
        assert "status 400" in reason and len(model.asked) == 2


class ContentFilterError(ProviderError):
    """As providers raise it for one text that they will not answer."""


async def test_a_refused_prompt_is_one_batch_lost() -> None:
    """Another prompt may pass."""
    told = iter([ContentFilterError("the prompt was filtered", 400)])
    model = ScriptedGenerator(answers=lambda prompt: next(told, None) if "new pairs" in prompt else None)
    result, journal = await run_job(pairs_family(model), 10, seeds=[SEED])
    assert len(journal.rows) == 10 and result["figures"]["declined"] == 1


async def test_give_up_after_count_in_a_row_only() -> None:
    """A model that gives little but keeps giving is not exhausted."""
    told = itertools.cycle(["[]", "[]", "[]", None])
    model = ScriptedGenerator(answers=lambda prompt: next(told) if "new pairs" in prompt else None)
    result, _ = await run_job(pairs_family(model, give_up_after=4), 4, seeds=[SEED], batch_size=1)
    assert result["figures"]["empty"] == 12


async def test_the_same_pair_forever_is_kept_once() -> None:
    """How many batches may bring nothing is a setting."""
    pair = json.dumps([{"llm_input": "What is a kite?", "llm_output": "A toy."}] * 3)
    family = pairs_family(ScriptedGenerator(answers=batches_say(pair)), give_up_after=4)
    journal = Journal()
    with pytest.raises(JobStopped, match=r"made 1 of 10 pairs; the last 4 batches .* \(12 similar\)"):
        await run_attempt(family, request_for(family, 10, seeds=[SEED], batch_size=3), Attempt(journal))
    assert len(journal.rows) == 1 and journal.figures["accepted"] == 1
    assert journal.messages[-1].startswith("Made 1 of 10 pairs in 5 batches: 1 good, 0 bad, 14 similar")


async def test_a_model_that_dries_up_leaves_what_it_gave() -> None:
    """In parallel batches too."""
    told = iter([None] * 3)
    model = ScriptedGenerator(answers=lambda prompt: next(told, "[]") if "new inputs" in prompt else None)
    family = inputs_family(model)
    journal = Journal()
    with pytest.raises(JobStopped, match="made 30 of 100 inputs"):
        body = {"seeds": ["Where is my parcel?"], "run_parallel_batches": True}
        await run_attempt(family, request_for(family, 100, **body), Attempt(journal))
    assert len(journal.rows) == 30


async def test_batches_that_are_given_up_are_paid_for_all_the_same() -> None:
    """An exhausted job counts the answers of those that were under way."""
    family, journal = pairs_family(ScriptedGenerator(answers=batches_say("[]")), give_up_after=1), Journal()
    body = {"seeds": [SEED], "run_parallel_batches": True, "exploration_mode": "CONSERVATIVE"}
    with pytest.raises(JobStopped):
        await run_attempt(family, request_for(family, 100, **body), Attempt(journal))
    read = [json.loads(journal.answers[f"batch-{n}/items"])["tokens"][0] for n in range(8)]
    assert journal.figures["batches"] == 1 and journal.figures["input_tokens"] > sum(read[:2])


async def test_rate_limits_are_waited_out_and_reported_once() -> None:
    """A storm does not end a job; its owner reads one line about it."""
    storm = ProviderError("Rate limit reached for sk-abcdefgh12345678", 429)
    model = ScriptedGenerator(answers=first(12, storm))
    family = pairs_family(model, first_wait=0.0001)
    _, journal = await run_job(family, 10, seeds=[SEED], run_parallel_batches=True)
    assert len(journal.rows) == 10
    waiting = [line for line in journal.messages if line.startswith("Waiting")]
    assert len(waiting) == 1 and "status 429" in waiting[0] and "sk-abcdefgh" not in waiting[0]


async def test_the_wait_a_provider_asks_for_is_kept() -> None:
    """`retry-after` of the response, in seconds."""
    model = ScriptedGenerator(answers=first(1, ProviderError("Slow down", 429, retry_after="0.3")))
    started = time.monotonic()
    await run_job(pairs_family(model), 2, seeds=[SEED])
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("fault", [ProviderError("Oops", 503), TimeoutError("no answer"), ConnectionResetError()])
async def test_a_provider_that_stays_away_ends_the_job(fault: Exception) -> None:
    """When our patience is at its end; the reason says how long that was."""
    model = ScriptedGenerator(answers=lambda prompt: fault)
    reason = await stopped(model, given={"patience": 0.05})
    assert type(fault).__name__ in reason and "did not pass within 0.05 s" in reason


async def test_a_call_without_an_answer_in_time_is_tried_again() -> None:
    """A time-out passes, or ends the job as other failures do."""
    reason = await stopped(ScriptedGenerator(latency=5.0), given={"timeout": 0.01, "patience": 0.05})
    assert "no answer within 0.01 s" in reason


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_faults_that_do_not_pass_end_the_job_at_once(status: int) -> None:
    """The reason names the cause, and no secret."""
    fault = ProviderError("Incorrect API key provided: sk-proj-0123456789abcdef", status)
    model = ScriptedGenerator(answers=lambda prompt: fault)
    reason = await stopped(model)
    assert len(model.asked) == 1 and f"status {status}" in reason
    assert "sk-proj" not in reason and "Fix the engine's configuration" in reason


class KeyedGenerator(ScriptedGenerator):
    """Holds a key, as models of providers do."""

    api_key: SecretStr = SecretStr("pass phrase of the model")


async def test_a_key_that_the_model_holds_never_shows() -> None:
    """Whatever it looks like."""
    fault = ProviderError("no such key: pass phrase of the model", 401)
    assert "pass phrase" not in await stopped(KeyedGenerator(answers=lambda prompt: fault))


async def test_a_fault_of_a_later_batch_keeps_the_earlier_ones() -> None:
    """The job ends in ERROR with what was committed."""
    told = iter([None, None])
    fault = ProviderError("model removed", 404)
    model = ScriptedGenerator(answers=lambda prompt: next(told, fault) if "new pairs" in prompt else None)
    family, journal = pairs_family(model), Journal()
    with pytest.raises(JobStopped):
        await run_attempt(family, request_for(family, 50, seeds=[SEED], run_parallel_batches=True), Attempt(journal))
    assert len(journal.rows) == 10


class TemperamentalGenerator(ScriptedGenerator):
    """Turns down temperatures above `highest`."""

    highest: float = 1.0

    async def _agenerate(self, *args: Any, **given: Any) -> Any:
        if self.temperature != 0.5 and self.temperature > self.highest:
            self.asked.append("turned down")
            raise ProviderError(f"temperature: {self.temperature} is above the maximum", 400)
        self.asked.append(f"at {self.temperature}")
        return await super()._agenerate(*args, **given)


@pytest.mark.parametrize(("highest", "used", "turned_down"), [(1.0, {"at 1.0"}, 1), (-1.0, {"at 0.5"}, 2)])
async def test_a_temperature_that_is_turned_down_is_lowered_and_then_dropped(
    highest: float, used: set[str], turned_down: int
) -> None:
    """For good: to 1 where the provider ends there, to the model's own where it takes none."""
    model = TemperamentalGenerator(temperature=0.5, highest=highest)
    await run_job(pairs_family(model), 20, seeds=[SEED], exploration_mode="ADVENTUROUS")
    assert model.asked.count("turned down") == turned_down
    assert {line for line in model.asked if line.startswith("at ")} - {"at 0.0"} == used


OFFLINE = ScriptedGenerator(record=False)


def costly(prompt: str) -> AIMessage:
    """The model's own answer, at 100 tokens a call."""
    text = OFFLINE.invoke(prompt).text
    return AIMessage(text, usage_metadata={"input_tokens": 100, "output_tokens": 0, "total_tokens": 100})


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
async def test_the_ceiling_stops_before_it_is_passed(parallel: bool, system_prompt: str | None) -> None:
    """With what was made, and with batches side by side too; every call costs a dollar."""
    model = ScriptedGenerator(answers=costly)
    body = {"max_cost_usd": 60.0, "run_parallel_batches": parallel, "system_prompt": system_prompt}
    result, journal = await run_job(pairs_family(model, prices=DOLLAR_A_CALL), 1000, seeds=[SEED], **body)
    assert 40 <= len(model.asked) <= 60
    assert result["figures"]["cost_usd"] == len(model.asked)
    assert result["stopped"].startswith("max_cost_usd") and result["figures"]["accepted"] == len(journal.rows) > 20
    assert journal.messages[-2] == result["stopped"]


async def test_a_ceiling_below_the_first_call_makes_nothing_and_asks_nothing() -> None:
    """And says so."""
    model = ScriptedGenerator(answers=costly)
    result, journal = await run_job(pairs_family(model, prices=DOLLAR_A_CALL), 10, max_cost_usd=0.5)
    assert not model.asked and not journal.rows and "made 0 of 10 pairs" in result["stopped"]


async def test_a_ceiling_needs_a_model_that_reports_its_tokens() -> None:
    """A job whose cost cannot be known ends after its first call."""
    model = ScriptedGenerator(usage=False)
    reason = await stopped(model, given={"prices": DOLLAR_A_CALL}, max_cost_usd=1000.0)
    assert "max_cost_usd cannot be kept" in reason and len(model.asked) == 1


async def test_unreported_tokens_are_unknown_and_not_zero() -> None:
    """In the figures."""
    result, _ = await run_job(pairs_family(ScriptedGenerator(usage=False), prices=DOLLAR_A_CALL), 5)
    assert [result["figures"][name] for name in ("input_tokens", "output_tokens", "cost_usd")] == [None] * 3
