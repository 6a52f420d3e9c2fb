"""What a generating job makes, with a model that behaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from attempts import inputs_family, pairs_family, request_for, run_job

from pi_integrations.engine.judges.protocol import Verdict
from pi_integrations.engine.judges.scripted import ScriptedJudge
from pi_integrations.engine.scoring.code_questions import CodeRunner
from pi_integrations.engine.scoring.custom_models import CustomModels
from pi_integrations.engine.scoring.service import ScoreService, VerdictCache
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator
from pi_integrations.errors import PiUsageError
from pi_integrations.models import Usage
from pi_integrations.models.data import SyntheticDataStatus, SyntheticInputsStatus

SEED = {"llm_input": "Where is my parcel?", "llm_output": "On its way."}
PRICES = {"input_per_million": 1.0, "output_per_million": 2.0}
POLITE = [{"question": "Is it polite?"}]


def service(script: Any) -> ScoreService:
    """The real score service, with a judge that answers from `script`."""
    return ScoreService(ScriptedJudge(script), CodeRunner(), CustomModels({}), VerdictCache(0), judge_timeout=5.0)


def pairs(*inputs: str) -> str:
    """An answer that holds pairs of these inputs."""
    return json.dumps([{"llm_input": text, "llm_output": f"About {text}"} for text in inputs])


def on(kind: str, answer: Any) -> Callable[[str], Any]:
    """Gives `answer`, or what it returns, to prompts that ask for `kind`; the model's own to others."""

    def said(prompt: str) -> Any:
        wanted = prompt.rpartition("Reply with a JSON list of exactly ")[2].partition(" and nothing else")[0].split()
        if wanted[1:] != [kind]:
            return None
        return answer(prompt) if callable(answer) else answer

    return said


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("count", [1, 5, 23])
async def test_exactly_the_number_requested_is_made(count: int, parallel: bool) -> None:
    """Also where it is no multiple of the batch size, and with batches side by side."""
    result, journal = await run_job(pairs_family(ScriptedGenerator()), count, run_parallel_batches=parallel)
    assert len(journal.rows) == count == len({row["llm_input"] for row in journal.rows})
    assert result["figures"]["accepted"] == count and "stopped" not in result


async def test_inputs_are_texts_and_share_everything_else() -> None:
    """`/data/generate`."""
    result, journal = await run_job(inputs_family(ScriptedGenerator()), 25, seeds=["Where is my parcel?"])
    assert len(set(journal.rows)) == 25 and all(isinstance(row, str) for row in journal.rows)
    SyntheticInputsStatus.model_validate({"job_id": "1", "state": "DONE", "data": journal.rows, **result})


async def test_result_and_progress_are_fields_of_the_status() -> None:
    """Figures, tokens and dollars."""
    result, journal = await run_job(pairs_family(ScriptedGenerator(), prices=PRICES), 12, seeds=[SEED])
    status = SyntheticDataStatus.model_validate({"job_id": "1", "state": "DONE", "data": journal.rows, **result})
    figures = status.figures
    assert figures is not None and status.data is not None and len(status.data) == 12
    recorded = [json.loads(answer)["tokens"] for answer in journal.answers.values()]
    assert figures.input_tokens == sum(read for read, _ in recorded)
    assert figures.output_tokens == sum(written for _, written in recorded)
    assert figures.cost_usd == pytest.approx((figures.input_tokens + 2 * figures.output_tokens) / 1e6)
    assert figures.distinct_2 is not None and figures.distinct_2 > 0.3
    assert figures.computed_on == {"items": 12, "of": 12}
    assert (
        figures.model_dump()
        == SyntheticDataStatus.model_validate(
            {"job_id": "1", "state": "RUNNING", **(journal.progress or {})["status"]}
        ).figures.model_dump()
    )  # type: ignore[union-attr]


async def test_messages_report_themes_batches_and_a_last_count() -> None:
    """In short lines; those with metrics are JSON."""
    _, journal = await run_job(pairs_family(ScriptedGenerator()), 10, seeds=[SEED])
    first, *batches, last = journal.messages
    assert first.startswith("Invented 10 themes: ")
    assert [json.loads(line)["good"] for line in batches] == [5, 5]
    assert last == "Made 10 of 10 pairs in 2 batches: 10 good, 0 bad, 0 similar, 0 malformed"


async def test_messages_of_a_large_job_stay_few() -> None:
    """Some hundred metric lines, whatever the number of batches."""
    _, journal = await run_job(pairs_family(ScriptedGenerator(record=False)), 204, batch_size=1, seeds=[SEED])
    assert 100 <= len(journal.messages) <= 130


async def test_without_seeds_they_are_invented_first() -> None:
    """And are examples of the batches, but no result."""
    invented = pairs("One?", "Two?")
    model = ScriptedGenerator(answers=on("pairs", lambda prompt: None if "EXAMPLES" in prompt else invented))
    _, journal = await run_job(pairs_family(model), 5, application_description="Answers questions")
    assert "Invented 2 seeds" in journal.messages
    assert "One?" not in [row["llm_input"] for row in journal.rows]
    assert all("One?" in prompt for prompt in model.asked if "new pairs" in prompt and "EXAMPLES" in prompt)


async def test_with_nothing_at_all_the_job_says_what_it_assumes() -> None:
    """A general-purpose assistant."""
    model = ScriptedGenerator()
    _, journal = await run_job(pairs_family(model), 2)
    assert "general-purpose assistant" in journal.messages[0]
    assert "general-purpose assistant" in model.asked[0]


async def test_copies_of_seeds_and_of_earlier_items_are_similar() -> None:
    """Whatever their case and punctuation."""
    copies = pairs("Where is my parcel", "New one?", "NEW ONE", "Something else entirely!")
    told = iter([copies])
    model = ScriptedGenerator(answers=on("pairs", lambda prompt: next(told, None)))
    result, journal = await run_job(pairs_family(model), 4, batch_size=4, seeds=[SEED])
    assert [row["llm_input"] for row in journal.rows[:2]] == ["New one?", "Something else entirely!"]
    assert result["figures"]["similar"] == 2


async def test_known_items_are_neither_answered_nor_judged() -> None:
    """Nothing is paid for what cannot be kept."""
    told = iter([json.dumps(["Where is my parcel?", "New one?"])])
    model = ScriptedGenerator(answers=on("inputs", lambda prompt: next(told, None)))
    _, journal = await run_job(pairs_family(model), 1, batch_size=2, seeds=[SEED], system_prompt="Be brief.")
    assert [key for key in journal.answers if key.startswith("batch-0")] == [
        "batch-0/items",
        "batch-0/answer-2",
        "batch-0/critic",
    ]


async def test_system_prompt_answers_each_input() -> None:
    """In a call of its own, with the system prompt as its system message."""
    model = ScriptedGenerator(answers=lambda prompt: None if "The tag is" in prompt else f"Arr: {prompt}")
    _, journal = await run_job(pairs_family(model), 6, system_prompt="You are a pirate.", seeds=[SEED])
    assert [row["llm_output"] for row in journal.rows] == [f"Arr: {row['llm_input']}" for row in journal.rows]


async def test_generator_turns_down_bad_items() -> None:
    """By the numbers of its verdicts; of two on the same item the worse counts."""
    both = '{"item": 2, "good": false}, {"item": 2, "good": true}'
    told = iter([f'[{{"item": 1, "good": true}}, {both}, {{"item": 3, "good": "bad"}}]'])
    model = ScriptedGenerator(answers=on("verdicts", lambda prompt: next(told, None)))
    result, journal = await run_job(pairs_family(model), 4, batch_size=3, seeds=[SEED])
    assert result["figures"]["bad"] == 2 and len(journal.rows) == 4


async def test_items_without_a_verdict_are_not_kept() -> None:
    """They are counted apart."""
    told = iter(["They all look fine."])
    model = ScriptedGenerator(answers=on("verdicts", lambda prompt: next(told, None)))
    result, _ = await run_job(pairs_family(model), 4, batch_size=3, seeds=[SEED])
    assert result["figures"]["unscored"] == 3 and result["figures"]["bad"] == 0


async def test_scoring_spec_judges_in_place_of_the_generator() -> None:
    """Rows carry their scores, and those below `min_score` are bad."""
    judge = service(lambda exchange, question: 0.9 if exchange.llm_input.startswith("W") else 0.6)
    family = pairs_family(ScriptedGenerator(answers=on("verdicts", AssertionError("not asked"))), service=judge)
    result, journal = await run_job(family, 4, scoring_spec=POLITE, min_score=0.8, batch_size=10, seeds=[SEED])
    assert all(row["scores"]["total_score"] == 0.9 for row in journal.rows)
    assert result["figures"]["bad"] > 0


async def test_what_a_judge_costs_is_in_the_ledger() -> None:
    """Where it says so; three pairs at half a dollar, and the generator's tokens."""
    judge = service(lambda exchange, question: Verdict(0.9, method="scripted", usage=Usage(cost_usd=0.5)))
    family = pairs_family(ScriptedGenerator(), service=judge, prices=PRICES)
    body = {"scoring_spec": POLITE, "batch_size": 3, "exploration_mode": "CONSERVATIVE"}
    result, _ = await run_job(family, 3, seeds=[SEED], **body)
    figures = result["figures"]
    tokens = (figures["input_tokens"] + 2 * figures["output_tokens"]) / 1e6
    assert figures["cost_usd"] == pytest.approx(3 * 0.5 + tokens)


async def test_min_score_is_a_half_unless_given() -> None:
    """Scores of .5 pass, scores below do not."""
    judge = service(lambda exchange, question: 0.5 if exchange.llm_input.startswith("W") else 0.49)
    result, journal = await run_job(
        pairs_family(ScriptedGenerator(), service=judge), 4, scoring_spec=POLITE, seeds=[SEED]
    )
    assert all(row["llm_input"].startswith("W") for row in journal.rows) and result["figures"]["bad"]


@pytest.mark.parametrize(
    ("mode", "temperature", "themed"),
    [("CONSERVATIVE", 0.7, 0), ("BALANCED", 1.0, 0.5), ("CREATIVE", 1.15, 0.75), ("ADVENTUROUS", 1.3, 1)],
)
async def test_modes_differ_in_temperature_and_themes(mode: str, temperature: float, themed: float) -> None:
    """Over 60 batches the share of themed ones is near its probability."""
    _, journal = await run_job(
        inputs_family(ScriptedGenerator()), 60, batch_size=1, seeds=["Where is it?"], exploration_mode=mode
    )
    batches = [json.loads(line) for line in journal.messages if line.startswith("{")]
    assert batches[0]["temperature"] == temperature
    share = sum(batch["theme"] is not None for batch in batches) / len(batches)
    assert share == themed or abs(share - themed) < 0.2
    assert ("themes" in journal.answers) == bool(themed)


async def test_temperature_rises_with_collisions_and_falls_back() -> None:
    """Never above .43 over the first, and back to it when all is clear."""
    clear, again = json.dumps(["Brand new question about kites"]), json.dumps(["Where is my parcel?"])
    told = iter([again] * 12 + [clear])
    model = ScriptedGenerator(answers=on("inputs", lambda prompt: next(told, None)))
    _, journal = await run_job(
        inputs_family(model), 40, batch_size=1, num_shots=0, seeds=["Where is my parcel?"], exploration_mode="BALANCED"
    )
    used = [json.loads(line)["temperature"] for line in journal.messages if line.startswith("{")]
    assert used[0] == 1.0 and max(used) == 1.43 and used[-1] == 1.0


async def test_num_shots_examples_are_shown() -> None:
    """None when it is 0."""
    model = ScriptedGenerator()
    seeds = [f"Question {word}" for word in ("apple", "brick", "cloud")]
    await run_job(inputs_family(model), 6, batch_size=3, num_shots=2, seeds=seeds, exploration_mode="CONSERVATIVE")
    shown = [json.loads(part.split("\n", 1)[1].rsplit("\n", 1)[0]) for part in examples(model.asked)]
    assert shown and all(len(texts) == 2 for texts in shown)
    bare = ScriptedGenerator()
    await run_job(inputs_family(bare), 3, num_shots=0, seeds=seeds, exploration_mode="CONSERVATIVE")
    assert not examples(bare.asked)


def examples(prompts: list[str]) -> list[str]:
    """The blocks of examples in prompts for batches."""
    return [
        prompt.split("BEGIN EXAMPLES")[1].split("END EXAMPLES")[0] for prompt in prompts if "BEGIN EXAMPLES" in prompt
    ]


def test_a_ceiling_needs_prices() -> None:
    """Before a job is made."""
    with pytest.raises(PiUsageError, match="max_cost_usd needs an engine that knows what its generator costs"):
        request_for(pairs_family(ScriptedGenerator()), 5, max_cost_usd=1.0)


@pytest.mark.parametrize(
    "wrong", [{"calls_at_a_time": 0}, {"timeout": -1.0}, {"give_up_after": 0}, {"similarity": 1.5}]
)
def test_numbers_out_of_range_are_usage_errors(wrong: dict[str, Any]) -> None:
    """When the families are made."""
    with pytest.raises(PiUsageError):
        pairs_family(ScriptedGenerator(), **wrong)
