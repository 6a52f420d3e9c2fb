"""The baseline judge."""

from __future__ import annotations

import asyncio
import threading
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_integrations.engine.judges import Exchange, Judge
from pi_integrations.engine.judges.baseline import MAX_CHARACTERS, BaselineJudge

ASKED = "Where is my parcel and when will it arrive?"
ANSWER = (
    "Sorry for the wait. Your parcel left our warehouse on Monday, the courier has it now, and it will arrive at your "
    "address by Thursday, 21 May. You can follow it with the link in your mail."
)
GOOD = "Is this a good response?"


async def score(llm_output: str, question: str = GOOD, llm_input: str = ASKED) -> float:
    [verdict] = await BaselineJudge().answer(Exchange(llm_input, llm_output), [question])
    assert verdict.score is not None
    return verdict.score


def test_is_a_judge():
    """It has what the engine calls."""
    assert isinstance(BaselineJudge(), Judge)
    assert BaselineJudge().fingerprint == "baseline/1"


@given(st.text(), st.text(), st.lists(st.text(), max_size=4))
def test_any_texts_give_a_score_each_and_always_the_same(llm_input, llm_output, questions):
    """To the last bit, whatever is asked along with a question."""
    exchange = Exchange(llm_input, llm_output)
    together = asyncio.run(BaselineJudge().answer(exchange, questions))
    alone = [asyncio.run(BaselineJudge().answer(exchange, [question]))[0] for question in questions]
    assert together == alone
    assert all(verdict.method == "baseline" for verdict in together)


@pytest.mark.parametrize("question", [GOOD, "Is it concise?", "Is it polite?", "Does it avoid jargon?"])
@pytest.mark.parametrize("output", ["", "  \n", "…"])
async def test_an_empty_output_scores_low(output, question):
    """Whatever is asked, under .05."""
    assert await score(output, question) < 0.05


@pytest.mark.parametrize(
    "worse",
    [
        "It is on its way.",
        "I'm sorry, but I cannot help with that request, since it is about things that I have no access to at all.",
        ANSWER[:100],
        "Your parcel will arrive. " * 8,
        "Bananas grow in bunches, ripen on the way, and turn yellow; people everywhere eat them for breakfast, as a "
        "snack, or baked in bread, and monkeys are said to be fond of them, which is hard to prove.",
    ],
    ids=["short", "refusal", "cut off", "repetition", "off the subject"],
)
async def test_a_whole_answer_scores_above_a_worse_one(worse):
    """Each of these loses by the feature that its name says."""
    assert await score(ANSWER) > await score(worse)


@pytest.mark.parametrize(
    ("question", "with_it", "without"),
    [
        ("Is it concise?", "By Thursday.", ANSWER),
        ("Is it polite?", ANSWER, ANSWER.replace("Sorry for", "So much for")),
        ("Does it list the steps?", "1. Open the mail.\n2. Follow the link.", "Open the mail. Follow the link."),
        ("Does it give a number?", "Call 555 0100 now.", "Call our desk now."),
        ("Does it name the courier?", ANSWER, ANSWER.replace("courier", "van man")),
        ("Does it avoid any word of the courier?", ANSWER.replace("courier", "van man"), ANSWER),
    ],
)
async def test_the_words_of_the_question_count(question, with_it, without):
    """What is asked for scores above what lacks it."""
    assert await score(with_it, question) > await score(without, question)


@pytest.mark.parametrize("field", ["llm_input", "llm_output"])
async def test_longer_text_than_it_reads_is_unscored(field):
    """The reason names the text, its length, the limit and the remedy; a text at the limit is read."""
    texts = {"llm_input": "Hi", "llm_output": "Hello", field: "word " * (MAX_CHARACTERS // 5)}
    assert [v.score is None for v in await BaselineJudge().answer(Exchange(**texts), [GOOD])] == [False]
    texts[field] += "s"
    for verdict in await BaselineJudge().answer(Exchange(**texts), [GOOD, GOOD]):
        assert verdict.score is None
        assert not verdict.retryable
        assert all(part in verdict.reason for part in (field, "200,001", "200,000", "another judge"))


@pytest.mark.parametrize(("characters", "leaves"), [(1_000, False), (30_000, True)])
async def test_long_texts_leave_the_event_loop(characters, leaves):
    """Seen by the thread that computes."""
    where = []
    with patch("math.log1p", side_effect=lambda x: where.append(threading.current_thread()) or 1.0):
        await score("word " * (characters // 5))
    assert all((thread is not threading.main_thread()) is leaves for thread in where)
    assert where
