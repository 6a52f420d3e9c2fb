"""The shapes in which a generator may give verdicts and themes, through whole jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from attempts import inputs_family, run_job

from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator

TEXTS = [
    "Where is my parcel now?",
    "Can I return a broken kite?",
    "Do you ship to Peru?",
    "Who repairs zips?",
    "Open on Sunday?",
]


def first_answers(**given: str) -> Callable[[str], str | None]:
    """The first answers on a kind of prompt; from then on the generator's own."""
    left = dict(given)

    def said(prompt: str) -> str | None:
        kind = prompt.rpartition(" and nothing else")[0].split()[-1]
        return left.pop(kind, None)

    return said


async def first_batch(verdicts: str, seeds: tuple[str, ...] = ("Something else altogether",)) -> dict[str, Any]:
    """The metric line of a first batch of five inputs, on which the generator gives these verdicts."""
    model = ScriptedGenerator(answers=first_answers(inputs=json.dumps(TEXTS), verdicts=verdicts))
    body = {"seeds": list(seeds), "batch_size": 5, "exploration_mode": "CONSERVATIVE"}
    _, journal = await run_job(inputs_family(model), 5, **body)
    line: dict[str, Any] = json.loads(next(line for line in journal.messages if line.startswith("{")))
    return {"rows": journal.rows[: line["good"]], **line}


VERDICTS = [True, False, True, True, False]
PASSED = [TEXTS[0], TEXTS[2], TEXTS[3]]


def numbered(first: int, goods: list[bool] = VERDICTS) -> str:
    return json.dumps([{"item": number, "good": good} for number, good in enumerate(goods, start=first)])


@pytest.mark.parametrize(
    "verdicts",
    [
        numbered(1),
        json.dumps(VERDICTS),
        json.dumps(["yes", "no", "good", "true", "bad"]),
        json.dumps({str(number): good for number, good in enumerate(VERDICTS, start=1)}),
        json.dumps({"verdicts": {f"ITEM {number}": good for number, good in enumerate(VERDICTS, start=1)}}),
        f"Of the items [1, 2, 3, 4, 5] I think: {numbered(1)}",
        numbered(0),
        json.dumps({str(number): good for number, good in enumerate(VERDICTS)}),
    ],
    ids=["asked for", "booleans", "words", "object", "object in an object", "prose", "from 0", "object from 0"],
)
async def test_verdicts_are_read_in_the_shapes_that_models_give(verdicts: str) -> None:
    """Each falls on its own item."""
    made = await first_batch(verdicts)
    assert made["rows"] == PASSED and made["bad"] == 2 and "unscored" not in made


@pytest.mark.parametrize(
    "verdicts",
    [json.dumps(VERDICTS[:4]), json.dumps([*VERDICTS, True]), '{"1": true, "2": true}', numbered(0, [*VERDICTS, True])],
    ids=["too few", "too many", "too few in an object", "from 0 to 5"],
)
async def test_verdicts_that_cannot_be_told_apart_are_none(verdicts: str) -> None:
    """Rather than each on its neighbour."""
    made = await first_batch(verdicts)
    assert made["unscored"] == 5 and made["good"] == 0


async def test_verdicts_fall_on_their_items_where_others_were_similar() -> None:
    """Four items are left to judge; they are numbered from 1 to 4."""
    made = await first_batch(json.dumps(VERDICTS[1:]), seeds=(TEXTS[0],))
    assert made["rows"] == PASSED[1:] and made["similar"] == 1 and made["bad"] == 2


@pytest.mark.parametrize(
    "themes",
    [
        ["lost parcels", "late parcels"],
        [{"theme": "lost parcels"}, {"theme": "late  parcels", "why": "frequent"}],
        {"themes": [{"name": "lost parcels", "id": 1}, {"name": "late parcels", "id": 2}]},
        {"result": {"themes": ["lost parcels", " ", "late parcels"]}},
        [{"subject": "lost parcels"}, {"subject": "late parcels"}],
        {"1": "lost parcels", "2": "late parcels"},
    ],
    ids=["texts", "objects", "named objects", "nested", "other name", "numbered"],
)
async def test_themes_are_read_in_the_shapes_that_models_give(themes: Any) -> None:
    """Texts, or objects that name them."""
    model = ScriptedGenerator(answers=first_answers(themes=json.dumps(themes)))
    _, journal = await run_job(inputs_family(model), 2, seeds=[TEXTS[0]], exploration_mode="ADVENTUROUS")
    assert journal.messages[0] == "Invented 2 themes: lost parcels; late parcels"
