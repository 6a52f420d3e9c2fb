"""A generating job that is killed at any await goes on: nothing lost, nothing doubled, nothing asked for again."""

from __future__ import annotations

from typing import Any

import pytest
from attempts import Attempt, Journal, pairs_family, request_for, run_attempt

from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator

SEED = {"llm_input": "Where is my parcel?", "llm_output": "On its way."}
PRICES = {"input_per_million": 1.0, "output_per_million": 1.0}
# Its answers are cut short now and then, so that items are rejected too.
SEQUENTIAL: dict[str, Any] = {"seeds": [], "batch_size": 3, "exploration_mode": "CREATIVE"}
PARALLEL: dict[str, Any] = {
    "seeds": [SEED],
    "batch_size": 2,
    "run_parallel_batches": True,
    "system_prompt": "Be brief.",
}
COUNT = 7


def cut_short(prompt: str) -> str | None:
    """Every third answer has one item that is no pair and one that is a seed."""
    if "new pairs" not in prompt or sum(prompt.encode()) % 3:
        return None
    return f'[{{"llm_input": "Question {len(prompt)}?", "llm_output": "Yes."}}, {{"llm_input": "Where is my parcel?"'


async def job_dying_at(body: dict[str, Any], dies_at: list[int]) -> tuple[Journal, ScriptedGenerator, int]:
    """A job that dies at one of these awaits in each attempt: its journal, its model, the last attempt's awaits."""
    model = ScriptedGenerator(answers=cut_short)
    journal = Journal()
    for at in [*dies_at, None]:
        family = pairs_family(model, prices=PRICES, calls_at_a_time=3)
        attempt = Attempt(journal, at)
        result = await run_attempt(family, request_for(family, COUNT, **body), attempt)
        if result is not None:
            assert result["figures"] == journal.figures
            break
    return journal, model, attempt.awaits


def check(journal: Journal, model: ScriptedGenerator, *, in_flight: int) -> None:
    """What holds after any number of deaths; `in_flight` calls may have been asked for again."""
    inputs = [row["llm_input"] for row in journal.rows]
    assert len(inputs) == COUNT == len(set(inputs)) == journal.figures["accepted"]
    assert sum(line.startswith("Made ") for line in journal.messages) == 1
    assert sum(line.startswith("Invented 10 themes") for line in journal.messages) <= 1
    assert len(journal.answers) <= len(journal.calls) <= len(journal.answers) + in_flight
    assert len(model.asked) <= len(journal.calls)


async def test_one_batch_at_a_time_makes_the_same_whenever_it_is_killed() -> None:
    """Rows, messages, figures and recorded answers are those of a job that was never killed."""
    calm, _, awaits = await job_dying_at(SEQUENTIAL, [])
    for at in range(1, awaits + 1):
        journal, model, _ = await job_dying_at(SEQUENTIAL, [at])
        check(journal, model, in_flight=1)
        assert journal == Journal(calm.answers, calm.rows, calm.messages, calm.progress, journal.calls), at


@pytest.mark.parametrize("part", range(2))
async def test_batches_side_by_side_keep_the_same_promises(part: int) -> None:
    """At every second await."""
    _, _, awaits = await job_dying_at(PARALLEL, [])
    for at in range(1 + part, awaits + 1, 2):
        journal, model, _ = await job_dying_at(PARALLEL, [at])
        check(journal, model, in_flight=3 * 2)


async def test_many_deaths_in_a_row_change_nothing() -> None:
    """A job that dies every few awaits gets there all the same."""
    calm, _, _ = await job_dying_at(SEQUENTIAL, [])
    journal, _, _ = await job_dying_at(SEQUENTIAL, [9] * 40)
    assert (journal.rows, journal.messages) == (calm.rows, calm.messages)
    journal, model, _ = await job_dying_at(PARALLEL, [23] * 40)
    check(journal, model, in_flight=6 * 40)


async def test_a_new_attempt_compares_its_items_with_those_of_earlier_ones() -> None:
    """Near-duplicates are found across a death."""
    model = ScriptedGenerator(answers=lambda prompt: REPEATED if "new pairs" in prompt else None)
    family, journal = pairs_family(model, give_up_after=2), Journal()
    request = request_for(family, 3, seeds=[SEED])
    assert await run_attempt(family, request, Attempt(journal, 13)) is None
    assert len(journal.rows) == 1
    with pytest.raises(Exception, match="made 1 of 3 pairs"):
        await run_attempt(family, request, Attempt(journal))
    assert len(journal.rows) == 1


REPEATED = '[{"llm_input": "What is a kite?", "llm_output": "A toy."}]'
