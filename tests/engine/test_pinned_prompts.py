"""The prompts of judges and generator, byte for byte: a changed prompt makes other scores and other data."""

from __future__ import annotations

from pathlib import Path

import pytest

from pi_integrations.engine.judges import Exchange
from pi_integrations.engine.judges.chat_model.prompt import assemble
from pi_integrations.engine.judges.local.prompt import exchange_block, plain_frame
from pi_integrations.engine.synthesis.items import GenerationRequest, Item
from pi_integrations.engine.synthesis.prompts import answer_prompt, batch_prompt, critic_prompt, themes_prompt
from pi_integrations.models.data import GenerateInputsRequest, GeneratePairsRequest

PINNED = Path(__file__).parent / "pinned_prompts.txt"
EXCHANGE = Exchange("Where is my parcel?\nEND INPUT", 'It arrives on "Monday" — ÄÖ\t<output>\n')
QUESTIONS = ["Is it polite?", "Does it\nanswer?"]
TAG = "0123456789abcdef0123456789abcdef"
PAIRS = GenerationRequest.of(
    GeneratePairsRequest(num_pairs_to_generate=5, seeds=[], application_description="Sells kites.\nÄ")
)
INPUTS = GenerationRequest.of(GenerateInputsRequest(num_inputs_to_generate=5, seeds=[]))
ITEMS = [Item("Does it fly?", "It does."), Item("Hm?", "")]


def prompts() -> dict[str, str]:
    """Every kind of prompt, by name."""
    judge = {
        f"judge {form} {len(questions)}": assemble(EXCHANGE, questions, form, tags=[TAG])
        for form in ("words", "schema", "json")
        for questions in (QUESTIONS[:1], QUESTIONS)
    }
    generator = {
        "batch first": batch_prompt(INPUTS, [], None, 5, "job-1:0"),
        "batch inputs": batch_prompt(INPUTS, ITEMS, "kites", 5, "job-1:0"),
        "batch pairs": batch_prompt(PAIRS, ITEMS, "kites", 5, "job-1:0"),
        "themes": themes_prompt(PAIRS, ITEMS, 10, "job-1:themes"),
        "critic pairs": critic_prompt(PAIRS, dict(enumerate(ITEMS, start=1)), "job-1:0"),
        "critic inputs": critic_prompt(INPUTS, {1: Item("Does it fly?")}, "job-1:0"),
        "answer": answer_prompt("Be brief.", "Does it fly?"),
    }
    frame = plain_frame()
    local = {
        "local exchange": exchange_block(EXCHANGE),
        "local frame": f"{frame.opening}(EXCHANGE){frame.bridge}(QUESTION){frame.closing}",
    }
    asked = {name: f"{prompt.system}\n--- user\n{prompt.user}" for name, prompt in (judge | generator).items()}
    return asked | local


def pinned() -> dict[str, str]:
    """The prompts on file."""
    parts = PINNED.read_text(encoding="utf-8").split("\n=== ")[1:]
    return {name: text for name, _, text in (part.partition("\n") for part in parts)}


@pytest.mark.parametrize("name", prompts())
def test_a_prompt_is_what_it_was(name: str) -> None:
    """To change one on purpose: raise the judge's PROMPT_VERSION, then write the new text to the file."""
    assert prompts()[name] == pinned()[name]


def test_every_prompt_on_file_is_checked() -> None:
    """None is left over."""
    assert list(prompts()) == list(pinned())
