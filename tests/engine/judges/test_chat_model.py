"""The chat judge: its readings, how one is settled, usage and identity."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from chat_fakes import FunctionModel, ToolModel, by_request, said, tokens, verdicts
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda

from pi_integrations.engine.judges import Exchange, Judge
from pi_integrations.engine.judges.chat_model import ChatModelJudge, chat_model_from_string
from pi_integrations.errors import PiUsageError

EXCHANGE = Exchange("Where is my parcel?", "It arrives on Monday.")
TWO = ["Is it polite?", "Does it answer?"]
LINES = tokens("1", ":", {" yes": 0.6, " no": 0.2}, "\n", "2", ":", {" no": 0.9, " yes": 0.1})
WORD = tokens({"Yes": 0.5, "yes": 0.3, "No": 0.1, " no.": 0.1})


def judge_and_requests(reply, model=FunctionModel, **options):
    """A judge on a fake model, and the list that the model's requests go to."""
    fake = model(reply=reply if callable(reply) else lambda messages, request: reply)
    return ChatModelJudge(fake, **options), fake.seen


def judge_of(reply, model=FunctionModel, **options):
    return judge_and_requests(reply, model, **options)[0]


def test_is_a_judge():
    """It has what the engine calls."""
    assert isinstance(judge_of(WORD), Judge)


async def test_logprobs_score_is_the_share_of_yes_over_all_variants():
    """P(yes) = .5 + .3, P(no) = .1 + .1, so the share is .8."""
    [verdict] = await judge_of(WORD).answer(EXCHANGE, ["Is it polite?"])
    assert verdict.score == pytest.approx(0.8)
    assert verdict.method == "logprobs"


async def test_one_call_reads_the_token_of_each_numbered_line():
    """.6 / .8 = .75 for the first question, .1 for the second."""
    judge, requests = judge_and_requests(LINES)
    assert [v.score for v in await judge.answer(EXCHANGE, TWO)] == pytest.approx([0.75, 0.1])
    assert len(requests) == 1


async def test_one_call_per_question_asks_each_alone():
    """Each question has its own request and its own usage."""
    judge, requests = judge_and_requests(WORD, one_call_per_question=True)
    answers = await judge.answer(EXCHANGE, TWO)
    assert [v.score for v in answers] == pytest.approx([0.8, 0.8])
    assert [v.usage.calls for v in answers] == [1, 1]
    asked = [request["messages"][1].content for request in requests]
    assert ["polite" in text for text in asked] == [True, False]


async def test_lists_of_logprobs_without_an_envelope_are_read():
    """Some providers put the list of tokens right below `logprobs`."""
    bare = said("Yes", response_metadata={"logprobs": WORD.response_metadata["logprobs"]["content"]})
    [verdict] = await judge_of(bare).answer(EXCHANGE, ["Is it polite?"])
    assert verdict.score == pytest.approx(0.8)


async def test_yes_or_no_while_thinking_is_not_the_answer():
    """Only what follows the end of a thought counts."""
    thinking = tokens("<think>", "\n", {"no": 1.0}, "\n", "</think>", "\n", {"yes": 0.9, "no": 0.1})
    [verdict] = await judge_of(thinking).answer(EXCHANGE, ["Is it polite?"])
    assert verdict.score == pytest.approx(0.9)


async def test_without_logprobs_auto_reads_structure_from_then_on():
    """The first answer settles it: one call more, once."""
    judge = judge_of(by_request(words=said("1: yes\n2: no"), other=verdicts(0.9, 0.2)))
    assert "reading=auto" in judge.fingerprint
    first, second = await judge.answer(EXCHANGE, TWO), await judge.answer(EXCHANGE, TWO)
    assert [v.score for v in first + second] == [0.9, 0.2, 0.9, 0.2]
    assert {v.method for v in first + second} == {"structured"}
    assert [first[0].usage.calls, second[0].usage.calls] == [2, 1]
    assert "reading=structured" in judge.fingerprint


async def test_a_provider_that_takes_no_logprobs_is_read_by_structure():
    """Providers differ in how they turn an unknown parameter down: here the client's own TypeError."""
    refused = TypeError("create() got an unexpected keyword argument 'logprobs'")
    judge = judge_of(by_request(words=refused, other=verdicts(0.9)))
    [verdict] = await judge.answer(EXCHANGE, ["Is it polite?"])
    assert (verdict.score, verdict.method) == (0.9, "structured")
    assert verdict.usage.input_tokens == 100


async def test_once_settled_on_logprobs_an_answer_without_them_is_unscored():
    """Never a silent change of reading."""
    answers = iter([WORD, said("yes")])
    judge = judge_of(lambda messages, request: next(answers))
    await judge.answer(EXCHANGE, ["Is it polite?"])
    [verdict] = await judge.answer(EXCHANGE, ["Is it polite?"])
    assert verdict.score is None
    assert verdict.method == "logprobs"
    assert 'reading="structured"' in verdict.reason


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("reading", ["auto", "logprobs"])
async def test_strict_raises_where_logprobs_are_missing(reading, each):
    """The caller asked for no other reading."""
    reply = by_request(words=said("yes"), other=verdicts(0.9, 0.2))
    judge = judge_of(reply, reading=reading, strict=True, one_call_per_question=each)
    with pytest.raises(PiUsageError, match="strict"):
        await judge.answer(EXCHANGE, TWO)


async def test_exchanges_that_start_together_settle_the_reading_once():
    """Ten at once cost one probe, not ten."""
    judge, requests = judge_and_requests(by_request(words=said("yes"), other=verdicts(0.9)))
    await asyncio.gather(*(judge.answer(EXCHANGE, ["Is it polite?"]) for _ in range(10)))
    assert sum("logprobs" in request for request in requests) == 1


async def test_a_refused_first_answer_settles_nothing():
    """It says nothing about what the provider returns."""
    answers = iter([said("", finish="content_filter"), WORD])
    judge = judge_of(lambda messages, request: next(answers))
    [first] = await judge.answer(EXCHANGE, ["Is it polite?"])
    [second] = await judge.answer(EXCHANGE, ["Is it polite?"])
    assert first.score is None
    assert (second.score, second.method) == (pytest.approx(0.8), "logprobs")


async def test_of_two_contrary_findings_the_first_stands():
    """After a refusal two exchanges find out side by side; the slower one's log-probabilities come too late."""

    async def late():
        await asyncio.sleep(0.02)
        return WORD

    findings = iter([said("", finish="content_filter"), said("yes"), late()])
    judge = judge_of(lambda messages, request: next(findings) if request.get("logprobs") else verdicts(0.9))
    answers = await asyncio.gather(*(judge.answer(EXCHANGE, ["Is it polite?"]) for _ in range(3)))
    assert [verdict.score for [verdict] in answers] == [None, 0.9, 0.9]
    assert "reading=structured" in judge.fingerprint


async def test_structured_output_goes_by_tool_call_where_the_model_has_one():
    """The schema goes with the request, the verdicts come back as arguments."""
    items = [{"question": 1, "explanation": "It greets.", "probability": 0.75}]
    call = {"name": "answers", "args": {"answers": items}, "id": "1", "type": "tool_call"}
    judge, requests = judge_and_requests(AIMessage("", tool_calls=[call]), ToolModel, reading="structured")
    [verdict] = await judge.answer(EXCHANGE, ["Is it polite?"])
    assert (verdict.score, verdict.explanation, verdict.method) == (0.75, "It greets.", "structured")
    assert requests[0]["tools"][0]["title"] == "answers"


@pytest.mark.parametrize(
    "text",
    [
        '{"answers": [{"question": 1, "explanation": "ok", "probability": 0.4}]}',
        '```json\n{"answers": [{"question": 1, "probability": 0.4}]}\n```',
        'Here {as asked} it is: {"answers": [{"question": "1", "probability": "0.4"}]} Anything else?',
        '[{"question": 1, "probability": 0.4}]',
        '<think>[{"question": 1, "probability": 1}]</think>{"answers": [{"question": 1, "probability": 0.4}]}',
    ],
)
async def test_json_is_found_amid_fences_and_prose(text):
    """Models without structured output dress their JSON up."""
    [verdict] = await judge_of(said(text), reading="structured").answer(EXCHANGE, ["Is it polite?"])
    assert verdict.score == 0.4


async def test_temperature_zero_is_set_where_the_model_has_one():
    """And the caller's own model object stays as it was."""
    model = ToolModel(reply=lambda messages, request: WORD, temperature=0.7)
    judge = ChatModelJudge(model)
    await judge.answer(EXCHANGE, ["Is it polite?"])
    assert [request["temperature"] for request in model.seen] == [0.0]
    assert model.temperature == 0.7
    assert "temperature=0;" in judge.fingerprint


async def test_a_temperature_that_the_provider_turns_down_is_dropped_for_good():
    """The fingerprint tells, and later calls do not try again."""

    def reply(messages, request):
        return ValueError("'temperature' does not support 0") if request["temperature"] == 0 else WORD

    judge, requests = judge_and_requests(reply, ToolModel)
    [verdict] = await judge.answer(EXCHANGE, ["Is it polite?"])
    await judge.answer(EXCHANGE, ["Is it polite?"])
    assert verdict.score == pytest.approx(0.8)
    assert verdict.usage.model_dump(exclude_none=True) == {"calls": 2, "input_tokens": 100, "output_tokens": 10}
    assert [request["temperature"] for request in requests] == [0.0, None, None]
    assert "temperature=default" in judge.fingerprint


async def test_usage_and_cost_stand_on_the_first_verdict():
    """100 tokens read at 2 dollars and 10 written at 8 dollars a million: .00028 dollars."""
    judge = judge_of(LINES, prices={"input_per_million": 2.0, "output_per_million": 8.0})
    first, second = await judge.answer(EXCHANGE, TWO)
    assert (first.usage.calls, first.usage.input_tokens, first.usage.output_tokens) == (1, 100, 10)
    assert first.usage.cost_usd == pytest.approx(0.00028)
    assert second.usage is None


async def test_unknown_tokens_are_unknown_not_zero():
    """A model that does not count leaves the numbers and the cost out."""
    silent = AIMessage("yes", response_metadata=WORD.response_metadata)
    judge = judge_of(silent, prices={"input_per_million": 2.0, "output_per_million": 8.0})
    [verdict] = await judge.answer(EXCHANGE, ["Is it polite?"])
    assert verdict.usage.model_dump(exclude_none=True) == {"calls": 1}


async def test_no_questions_cost_no_call():
    """Nothing to ask, nothing asked."""
    judge, requests = judge_and_requests(WORD)
    assert await judge.answer(EXCHANGE, []) == []
    assert requests == []


def test_fingerprint_names_what_decides_a_score_and_no_secret():
    """Equal settings give equal fingerprints; model, temperature and calls each change it."""

    def fingerprint(temperature=0.0, each=False, **fields):
        model = ToolModel(reply=lambda messages, request: WORD, **fields)
        return ChatModelJudge(model, temperature=temperature, one_call_per_question=each).fingerprint

    base = fingerprint()
    assert base == fingerprint(api_key="another-key")
    assert len({base, fingerprint(model="tiny-2"), fingerprint(temperature=0.5), fingerprint(each=True)}) == 4
    assert "tiny-1" in base
    assert "pa55phrase" not in base


async def test_callbacks_of_a_surrounding_run_do_not_see_the_judge():
    """Else a handler that scores every model call would score the judge's, without end."""
    seen = []

    class Handler(AsyncCallbackHandler):
        async def on_chat_model_start(self, serialized, messages, **kwargs):
            seen.append(messages)

    judge, requests = judge_and_requests(by_request(words=said("yes"), other=verdicts(0.9)), ToolModel)

    async def score(_):
        return await judge.answer(EXCHANGE, ["Is it polite?"])

    await RunnableLambda(score).ainvoke("x", {"callbacks": [Handler()]})
    assert len(requests) == 2
    assert seen == []


@pytest.mark.parametrize(
    "options",
    [
        {"reading": "guess"},
        {"timeout": 0},
        {"top_logprobs": 1},
        {"prices": {"input_per_million": 1.0}},
        {"prices": {"input_per_million": 1.0, "output_per_million": -1.0}},
        {"prices": {"input_per_million": 1.0, "output_per_million": float("nan")}},
    ],
)
def test_wrong_options_are_refused(options):
    """By a usage error, when the judge is made."""
    with pytest.raises(PiUsageError):
        judge_of(WORD, **options)


def test_what_is_no_chat_model_is_refused():
    """The error says what to pass."""
    with pytest.raises(PiUsageError, match="LangChain chat model"):
        ChatModelJudge(object())


def test_a_string_with_an_unknown_provider_says_how_to_write_one():
    """PROVIDER:MODEL."""
    with pytest.raises(PiUsageError, match="PROVIDER:MODEL"):
        ChatModelJudge("nobody:tiny")


def test_a_missing_provider_package_gives_the_pip_command(monkeypatch):
    """So does a missing LangChain."""
    monkeypatch.setitem(sys.modules, "langchain_anthropic", None)
    with pytest.raises(ImportError, match="pip install langchain-anthropic"):
        chat_model_from_string("anthropic:tiny")
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(ImportError, match=r'pip install "pi-integrations\[chat\]"'):
        chat_model_from_string("openai:tiny")


def test_the_other_judges_import_no_langchain_and_this_one_says_what_it_needs():
    """In a fresh interpreter where langchain-core is not to be had."""
    code = """
import sys
sys.modules["langchain_core"] = None
import pi_integrations.engine, pi_integrations.engine.judges, pi_integrations.engine.judges.baseline
import pi_integrations.engine.chat_models.fence
try:
    import pi_integrations.engine.judges.chat_model
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "pi-integrations[chat]"' in done.stdout
