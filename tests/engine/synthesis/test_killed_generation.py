"""A generating job that is killed at any await goes on: nothing lost, nothing doubled, nothing asked for again."""

from __future__ import annotations

from typing import Any

import pytest
from attempts import Journal, Life, live, pairs_family, request_for

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


async def lives_of(body: dict[str, Any], dies_at: list[int]) -> tuple[Journal, ScriptedGenerator, int]:
    """The journal of a job that dies at these awaits, one a life, and then lives; the model; the last life's awaits."""
    model = ScriptedGenerator(answers=cut_short)
    journal = Journal()
    for at in [*dies_at, None]:
        family = pairs_family(model, prices=PRICES, calls_at_a_time=3)
        life = Life(journal, at)
        result = await live(family, request_for(family, COUNT, **body), life)
        if result is not None:
            assert result["figures"] == journal.figures
            break
    return journal, model, life.awaits


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
    calm, _, awaits = await lives_of(SEQUENTIAL, [])
    for at in range(1, awaits + 1):
        journal, model, _ = await lives_of(SEQUENTIAL, [at])
        check(journal, model, in_flight=1)
        assert journal == Journal(calm.answers, calm.rows, calm.messages, calm.progress, journal.calls), at


@pytest.mark.parametrize("part", range(2))
async def test_batches_side_by_side_keep_the_same_promises(part: int) -> None:
    """At every second await."""
    _, _, awaits = await lives_of(PARALLEL, [])
    for at in range(1 + part, awaits + 1, 2):
        journal, model, _ = await lives_of(PARALLEL, [at])
        check(journal, model, in_flight=3 * 2)


async def test_many_deaths_in_a_row_change_nothing() -> None:
    """A job that dies every few awaits gets there all the same."""
    calm, _, _ = await lives_of(SEQUENTIAL, [])
    journal, _, _ = await lives_of(SEQUENTIAL, [9] * 40)
    assert (journal.rows, journal.messages) == (calm.rows, calm.messages)
    journal, model, _ = await lives_of(PARALLEL, [23] * 40)
    check(journal, model, in_flight=6 * 40)


async def test_what_a_new_life_makes_is_compared_with_what_earlier_ones_kept() -> None:
    """Near-duplicates are found across a death."""
    model = ScriptedGenerator(answers=lambda prompt: REPEATED if "new pairs" in prompt else None)
    family, journal = pairs_family(model, barren_batches=2), Journal()
    request = request_for(family, 3, seeds=[SEED])
    assert await live(family, request, Life(journal, 13)) is None
    assert len(journal.rows) == 1
    with pytest.raises(Exception, match="made 1 of 3 pairs"):
        await live(family, request, Life(journal))
    assert len(journal.rows) == 1


REPEATED = '[{"llm_input": "What is a kite?", "llm_output": "A toy."}]'
