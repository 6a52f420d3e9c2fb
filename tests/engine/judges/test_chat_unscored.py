"""The chat judge: what gives no score, and why."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

import pytest
from chat_fakes import FunctionModel, said, tokens, verdicts
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from pi_integrations.engine.judges import Exchange
from pi_integrations.engine.judges.chat_model import ChatModelJudge
from pi_integrations.engine.judges.chat_model.readings import Token, read_answers, read_words, yes_share

EXCHANGE = Exchange("Where is my parcel?", "It arrives on Monday.")
TWO = ["Is it polite?", "Does it answer?"]


async def ask(reply, questions=TWO, *, delay=0.0, **options):
    model = FunctionModel(reply=lambda messages, request: reply, delay=delay)
    return await ChatModelJudge(model, **options).answer(EXCHANGE, questions)


@pytest.mark.parametrize(
    "second",
    [
        *(1.5, -0.1, True, None, "often", "", [0.5], float("nan"), float("inf"), "nan", 10**400),
        {"question": 3, "probability": 0.5},
        {"question": 2},
        {"question": True, "probability": 0.5},
        {"question": 1.5, "probability": 0.5},
    ],
)
async def test_unreadable_verdict_is_unscored_not_zero_and_its_neighbour_keeps_its_score(second):
    """Missing, of another kind, not finite, out of range: no number."""
    first, other = await ask(verdicts(0.9, second), reading="structured")
    assert first.score == 0.9
    assert other.score is None
    assert other.method == "structured"


async def test_two_different_verdicts_on_one_question_are_none():
    """There is no telling which was meant; the same one twice is fine."""
    twice = [
        {"question": 1, "probability": 0.9},
        {"question": 1, "probability": 0.1},
        {"question": 2, "probability": 0.3},
    ]
    first, second = await ask(verdicts(*twice, twice[2]), reading="structured")
    assert "more than once" in first.reason
    assert second.score == 0.3


@pytest.mark.parametrize(
    "text", ["", "I think both are fine.", '{"answers": [{"question": 1, "prob', "[" * 100_000, "{}"]
)
async def test_an_answer_without_verdicts_scores_nothing(text):
    """Truncated JSON is not completed by guesswork."""
    assert [v.score for v in await ask(said(text), reading="structured")] == [None, None]


@given(st.text() | st.text(alphabet='{}[]",:0123456789.eE-answersquestionprobability \n'))
def test_any_text_at_all_gives_verdicts(text):
    """The reader never raises, whatever a model writes."""
    assert len(read_answers(AIMessage(text), 2)) == 2


@pytest.mark.parametrize(
    "message",
    [
        tokens("1", ":", {" yes": 0.9, " no": 0.1}, "\n", "2", ":", " maybe"),
        tokens("1", ":", {" yes": 0.9, " no": 0.1}, "\n", "2", ":", " y", "es"),
        tokens("1", ":", {" yes": 0.9, " no": 0.1}, "\n", "2", ":", {" yes": 0.0}),
        tokens("1", ":", {" yes": 0.9, " no": 0.1}, "\n", "2: ", "yes", "\n", "2: ", "no"),
        tokens("1", ":", {" yes": 0.9, " no": 0.1}, "\n", "2", ":", {" yes": 7.0}),
        tokens("1", ":", {" yes": 0.9, " no": 0.1}, "\n", "2", ":", {" yes": math.nan}),
    ],
)
async def test_a_line_without_a_readable_word_is_unscored(message):
    """Another word, a split word, no probability, answered twice, no probabilities at all."""
    first, second = await ask(message)
    assert first.score == pytest.approx(0.9)
    assert second.score is None
    assert second.method == "logprobs"


async def test_words_before_a_cut_keep_their_scores():
    """A token's probability does not depend on what would have followed."""
    first, second = await ask(tokens("1", ":", {" yes": 0.9, " no": 0.1}, "\n", "2", finish="length"))
    assert first.score == pytest.approx(0.9)
    assert "cut off" in second.reason


@given(st.lists(st.tuples(st.sampled_from(["yes", " No", "NO.", "▁yes", "maybe", "none"]), st.floats())))
def test_share_of_yes_is_a_probability_or_nothing(alternatives):
    """Whatever numbers a provider sends."""
    share = yes_share(Token("yes", tuple(alternatives)))
    assert share is None or 0 <= share <= 1


@given(st.lists(st.booleans(), min_size=2, max_size=12), st.data())
def test_every_line_is_read_however_it_is_cut_into_tokens(answers, data):
    """Cuts anywhere but inside the words; each word's own odds come back."""
    listed = []
    for n, answer in enumerate(answers, start=1):
        head, share = f"{n}:", n / (len(answers) + 1)
        at = data.draw(st.integers(1, len(head) - 1))
        word = {" yes": share, " no": 1 - share} if answer else {" no": 1 - share, " yes": share}
        listed += [head[:at], head[at:], word, data.draw(st.sampled_from(["\n", ".\n", "\n\n"]))]
    message = tokens(*listed)
    entries = message.response_metadata["logprobs"]["content"]
    parsed = [Token(e["token"], tuple((t["token"], t["logprob"]) for t in e["top_logprobs"])) for e in entries]
    shares = [n / (len(answers) + 1) for n in range(1, len(answers) + 1)]
    assert [v.score for v in read_words(message, parsed, len(answers))] == pytest.approx(shares)


@pytest.mark.parametrize("reading", ["logprobs", "structured"])
@pytest.mark.parametrize(
    "message",
    [
        said("", additional_kwargs={"refusal": "I cannot judge this."}),
        said("", finish="content_filter"),
        said("", response_metadata={"finish_reason": "SAFETY"}),
        said("", response_metadata={"stop_reason": "refusal", "finish_reason": None}),
        AIMessage([{"type": "refusal", "refusal": "I cannot."}]),
    ],
)
async def test_a_refusal_is_unscored(message, reading):
    """Whichever way the provider reports it."""
    for verdict in await ask(message, reading=reading):
        assert verdict.score is None
        assert not verdict.retryable
        assert "refused" in verdict.reason or "stopped" in verdict.reason


@pytest.mark.parametrize("ending", [{"finish_reason": "length"}, {"stop_reason": "max_tokens"}])
async def test_an_answer_cut_off_is_unscored(ending):
    """Even when the JSON happens to be whole: a number may have lost digits."""
    cut = said('{"answers": [{"question": 1, "probability": 0.9}]}', response_metadata=ending)
    for verdict in await ask(cut, reading="structured"):
        assert verdict.score is None
        assert "max_tokens" in verdict.reason


async def test_a_timeout_may_be_asked_again():
    """The reason gives the limit."""
    [verdict] = await ask(said("yes"), ["Is it polite?"], delay=5, timeout=0.01)
    assert verdict.score is None
    assert verdict.retryable
    assert "0.01 s" in verdict.reason


@pytest.mark.parametrize("each", [False, True])
async def test_cancellation_passes_through(each):
    """It is never turned into a verdict."""
    task = asyncio.create_task(ask(said("yes"), delay=5, one_call_per_question=each))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class RateLimitError(Exception):
    """Named as providers name it, without a status."""


class BadRequestError(Exception):
    """Also without a status."""


class StatusError(Exception):
    """With the status that providers' exceptions carry."""

    def __init__(self, status_code: int, message: str = "no") -> None:
        super().__init__(message)
        self.status_code = status_code


@dataclass(frozen=True)
class Case:
    """An exception and what its verdict says."""

    error: Exception
    retryable: bool
    says: str = "judge model failed"


@pytest.mark.parametrize(
    "case",
    [
        Case(StatusError(429), True),
        Case(StatusError(500), True),
        Case(StatusError(529), True),
        Case(RateLimitError("slow down"), True),
        Case(ConnectionResetError("reset"), True),
        Case(StatusError(401), False),
        Case(StatusError(400), False),
        Case(StatusError(404), False),
        Case(BadRequestError("no such field"), False),
        Case(StatusError(429, "insufficient_quota: check your plan"), False),
        Case(KeyError("choices"), False),
        Case(StatusError(400, "maximum context length is 8192 tokens"), False, "longer than the judge model reads"),
        Case(StatusError(400, "prompt is too long: 9000 tokens"), False, "longer than the judge model reads"),
        Case(StatusError(429, "prompt is too long for your tier"), True),
    ],
    ids=lambda case: repr(case.error),
)
async def test_a_provider_exception_is_a_reason(case):
    """With whether another try may help, and no score."""
    for verdict in await ask(case.error, reading="structured"):
        assert verdict.score is None
        assert verdict.retryable is case.retryable
        assert case.says in verdict.reason


@pytest.mark.parametrize(
    "leak",
    [
        "pa55phrase-of-the-model",
        "sk-proj-abcDEF123456",
        "AIzaSyA1234567890abcdefghijk",
        "Bearer eyJhbGciOi",
        "api_key='hunter2hunter2'",
        "https://user:hunter2@host/v1",
        "https://host/v1?key=hunter2",
        "0123456789abcdef0123456789abcdef",
    ],
)
async def test_reasons_hold_no_secrets(leak):
    """Neither the model's own key nor what looks like one."""
    [verdict] = await ask(StatusError(401, f"Incorrect key: {leak} was given"), ["Is it polite?"])
    assert "StatusError (status 401)" in verdict.reason
    for secret in (leak, "hunter2", "pa55phrase", "eyJh"):
        assert secret not in verdict.reason


async def test_reasons_are_short():
    """A provider may quote the whole request back."""
    [verdict] = await ask(StatusError(400, "quoted " * 10_000), ["Is it polite?"])
    assert len(verdict.reason) < 400
