"""What a job that is exhausted advises."""

from __future__ import annotations

import pytest
from attempts import inputs_family, run_job

from pi_integrations.engine.jobs.family import JobStopped
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator


async def test_a_refusal_in_plain_words_is_not_taken_for_bad_json_alone() -> None:
    """Nothing but its words tells it from prose, so that both remedies are named."""
    model = ScriptedGenerator(answers=lambda prompt: "I'm sorry, but I can't help with that.")
    with pytest.raises(JobStopped, match=r"JSON.* if it refuses in plain words, make application_description clearer"):
        await run_job(inputs_family(model), 5, seeds=["Where is it?"], exploration_mode="CONSERVATIVE")
