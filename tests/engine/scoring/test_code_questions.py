"""Code questions: a user's `score` in the sandbox, through `CodeRunner`, with real worker processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pi_integrations import PiUsageError
from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.engine.scoring.code_questions import CodeLimits, CodeRunner

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXCHANGE = Exchange(llm_input="What is the capital of France?", llm_output="Paris.")
GOOD = "def score(response_text, input_text, kwargs):\n    return {'score': 0.25}\n"
LOOP = "def score(response_text, input_text, kwargs):\n    while True:\n        pass\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runner() -> AsyncIterator[CodeRunner]:
    """Two workers with a short time limit, shared by the tests that do not harm them."""
    runner = CodeRunner(CodeLimits(seconds=0.3, memory_bytes=32 * 2**20))
    yield runner
    await runner.aclose()


def body(expression: str) -> str:
    """A `score` that returns `expression`."""
    return f"def score(response_text, input_text, kwargs):\n    return {expression}\n"


async def seen(runner: CodeRunner, signature: str, expression: str, output: str, **kwargs: Any) -> Any:
    """What a `score` of this signature sees, as JSON values; its explanation carries them out."""
    code = f"import json\ndef score({signature}):\n    return {{'score': 1, 'explanation': json.dumps({expression})}}\n"
    verdict = await runner.score(code, Exchange("asked", output), kwargs)
    assert verdict.explanation is not None, verdict.reason
    return json.loads(verdict.explanation)


@dataclass(frozen=True)
class Bad:
    """Code without a score, and a part of the reason it must give."""

    name: str
    code: str
    reason: str


HEAD = "def score(response_text, input_text, kwargs):\n    "
BAD = [
    Bad("loops", LOOP, "ran longer than its 0.3 s limit"),
    Bad("loops and catches", HEAD + "while 1:\n     try:\n      while 1: 0\n     except BaseException: 0", "0.3 s"),
    Bad("allocates a list", HEAD + "held = []\n    while True: held.append('a' * 100000)", "than its limit of 32 MiB"),
    Bad("allocates one string", body("{'score': len('a' * 10**11)}"), "memory than its limit of 32 MiB"),
    Bad("recurses", HEAD + "return score(response_text, input_text, kwargs)", "line 2: RecursionError"),
    Bad("forks", "import os\n" + HEAD + "os.fork()", "line 3: AttributeError"),
    Bad("runs a command", "import os\n" + HEAD + "os.system('true')", "line 3: AttributeError"),
    Bad("imports subprocess", "import subprocess\n" + body("{'score': 1}"), "line 1: ModuleNotFoundError"),
    Bad("reads a file", HEAD + "return {'score': len(open('/etc/hosts').read()) > 0}", "line 2: PermissionError"),
    Bad("reads the environment", "import os\n" + HEAD + "return {'score': len(os.environ) > 0}", "line 3: "),
    Bad("backtracks", "import re\n" + HEAD + r"re.match(r'(a|aa|(?=b)c)+\1$', 'a' * 60 + 'b')", "3: re.PatternError"),
    Bad("raises", HEAD + "raise ValueError('no\\n  dates')", "python_code, line 2: ValueError: no dates"),
    Bad("raises on import", "x = 1\ny = 1 / 0\n" + GOOD, "line 2: ZeroDivisionError"),
    Bad("lacks a module", "import numpy\n" + GOOD, "No module named 'numpy'; the sandbox has json, re, math"),
    Bad("has a syntax error", "x = 1\ndef score(a, b, c)\n    return 1\n", "line 2: SyntaxError: expected ':'"),
    Bad("has an indentation error", "def score(a, b, c):\nreturn 1\n", "line 2: IndentationError"),
    Bad("holds a null byte", "x = 1\0\n" + GOOD, "null bytes"),
    Bad("nests too deep", "x = " + "-" * 50_000 + "1\n" + GOOD, "nests its expressions too deep"),
    Bad("is too long", "#" * 100_001 + "\n" + GOOD, "longer than 100,000 characters"),
    Bad("is empty", "", "does not define score; define it at the top level as score(response_text, input_text"),
    Bad("defines another function", "def grade(a, b, c):\n    return {'score': 1}", "does not define score"),
    Bad("is async", "async " + GOOD, "line 1: score is async; make it a plain def"),
    Bad("returns outside a function", "return 1\n" + GOOD, "remove the return outside a function"),
    Bad("returns 7", body("7"), "score returned 7; return {'score': number in [0, 1]}"),
    Bad("returns a bare number", body("0.5"), "score returned 0.5; return {'score': number in [0, 1]}"),
    Bad("returns None", body("None"), "score returned None;"),
    Bad("returns a string", body("'high'"), "score returned 'high';"),
    Bad("returns nothing useful", body("{'explanation': 'fine'}"), "score returned {'explanation': 'fine'};"),
    Bad("scores NaN", body("{'score': float('nan')}"), "{'score': nan}, which is not in [0, 1]"),
    Bad("scores infinity", body("{'score': float('inf')}"), "{'score': inf}, which is not in [0, 1]"),
    Bad("scores 7", body("{'score': 7}"), "{'score': 7}, which is not in [0, 1]"),
    Bad("scores below 0", body("{'score': -0.001}"), "{'score': -0.001}, which is not in [0, 1]"),
    Bad("scores None", body("{'score': None}"), "{'score': None}, which is not a number"),
    Bad("scores a string", body("{'score': '0.5'}"), "{'score': '0.5'}, which is not a number"),
    Bad("returns a deep list", HEAD + "x = []\n    for _ in range(50000): x = [x]\n    return x", "score returned [[["),
    Bad("asks for more than is sent", "def score(response_text, input_text, *, tone): pass", "score needs 'tone'"),
    Bad("takes no text", "def score(): return {'score': 1}", "score has no parameter for the response"),
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_bad_code_is_unscored_with_its_reason(runner: CodeRunner, bad: Bad) -> None:
    """Never 0, never clamped: no number, a reason a person can act on, and no advice to retry."""
    verdict = await runner.score(bad.code, EXCHANGE, {})
    assert verdict.score is None
    assert bad.reason in (verdict.reason or "")
    assert (verdict.method, verdict.retryable) == ("code", False)


@pytest.mark.parametrize(
    ("returned", "score"),
    [("0.25", 0.25), ("1", 1.0), ("0", 0.0), ("True", 1.0), ("False", 0.0), ("0.1 + 0.2", 0.1 + 0.2), ("-0.0", 0.0)],
)
async def test_numbers_and_booleans_are_scores(runner: CodeRunner, returned: str, score: float) -> None:
    """They come back as floats, exactly."""
    verdict = await runner.score(body(f"{{'score': {returned}}}"), EXCHANGE, {})
    assert verdict == Verdict(score=score, method="code")


@pytest.mark.parametrize(
    ("returned", "explanation"),
    [
        ("'too long'", "too long"),
        ("None", None),
        ("3", "3"),
        ("'é' * 2000", "é" * 2000),
        ("'é' * 2001", "é" * 2000 + "…"),
    ],
)
async def test_explanation_is_text_of_bounded_length(
    runner: CodeRunner, returned: str, explanation: str | None
) -> None:
    """Anything but None is shown as text, cut at 2,000 characters with a mark."""
    verdict = await runner.score(body(f"{{'score': 1, 'explanation': {returned}}}"), EXCHANGE, {})
    assert verdict == Verdict(score=1.0, method="code", explanation=explanation)


@pytest.mark.parametrize(
    ("signature", "expression"),
    [
        ("response_text: str, input_text: str, kwargs: dict", "[response_text, input_text, kwargs]"),
        ("response_text, input_text, kwargs={}", "[response_text, input_text, kwargs]"),
        ("response_text, input_text, context", "[response_text, input_text, context]"),
        ("response_text, input_text, **kwargs", "[response_text, input_text, kwargs]"),
        ("response_text, input_text, /, **rest", "[response_text, input_text, rest]"),
        ("input_text, response_text, **kwargs", "[response_text, input_text, kwargs]"),
        ("*, response_text, input_text, **kwargs", "[response_text, input_text, kwargs]"),
        ("**kwargs", "[kwargs.pop('response_text'), kwargs.pop('input_text'), kwargs]"),
        ("response_text, input_text, tone, **kwargs", "[response_text, input_text, {'tone': tone, **kwargs}]"),
        ("response_text, input_text, kwargs, limit=0", "[response_text, input_text, {**kwargs, 'limit': limit}]"),
        ("response_text, input_text, limit=0, tone=''", "[response_text, input_text, {'limit': limit, 'tone': tone}]"),
    ],
)
async def test_every_convention_gets_texts_and_arguments(runner: CodeRunner, signature: str, expression: str) -> None:
    """The signature decides how, not what, `score` is given."""
    assert await seen(runner, signature, expression, "answered", limit=3, tone="dry") == [
        "answered",
        "asked",
        {"limit": 3, "tone": "dry"},
    ]


@pytest.mark.parametrize("signature", ["response, question", "response, question, extra", "response, question, **rest"])
async def test_texts_go_by_position_where_names_differ(runner: CodeRunner, signature: str) -> None:
    """The response comes first, the input second."""
    assert await seen(runner, signature, "[response, question]", "answered", tone="dry") == ["answered", "asked"]


async def test_the_last_definition_of_score_decides(runner: CodeRunner) -> None:
    """As it does when Python runs the source."""
    code = "def score(x):\n    return 7\n" + GOOD
    assert (await runner.score(code, EXCHANGE, {})).score == 0.25


@pytest.mark.parametrize("signature", ["response_text, input_text, kwargs", "response_text, input_text, **kwargs"])
async def test_keys_of_a_json_answer_arrive_and_give_way_to_kwargs(runner: CodeRunner, signature: str) -> None:
    """Texts win over the request's kwargs, which win over keys of the answer."""
    output = json.dumps({"tone": "wet", "limit": 3, "response_text": "forged", "input_text": "forged", "a b": [1]})
    result = await seen(
        runner, signature, "[response_text, input_text, kwargs]", output, tone="dry", response_text="forged"
    )
    assert result == [output, "asked", {"tone": "dry", "limit": 3, "a b": [1]}]


async def test_keyword_only_convention_cannot_be_handed_forged_texts(runner: CodeRunner) -> None:
    """`response_text` and `input_text` are always the exchange's own."""
    output = json.dumps({"input_text": "forged", "response_text": "forged"})
    assert await seen(runner, "**kwargs", "kwargs", output, input_text="forged") == {
        "response_text": output,
        "input_text": "asked",
    }


@pytest.mark.parametrize("output", ["[1, 2]", '{"a": 1', "plain", '{"a": 1} and more', "", '"{}"'])
async def test_answers_that_are_no_json_object_add_nothing(runner: CodeRunner, output: str) -> None:
    """Only a whole JSON object has keys to pass along."""
    assert await seen(runner, "response_text, input_text, kwargs", "[response_text, kwargs]", output) == [output, {}]


async def test_deeply_nested_json_answer_is_unscored_only_where_its_keys_are_wanted(runner: CodeRunner) -> None:
    """A score that looks at the text alone still gets it."""
    exchange = Exchange("", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    refused = await runner.score(GOOD, exchange, {})
    assert "nests too deep" in (refused.reason or "")
    assert (await runner.score("def score(response_text):\n    return {'score': 1}", exchange, {})).score == 1.0


async def test_five_megabytes_of_answer_are_scored() -> None:
    """Within the default limits."""
    runner = CodeRunner()
    verdict = await runner.score(body("{'score': len(response_text) == 5_000_000}"), Exchange("", "é" * 5_000_000), {})
    await runner.aclose()
    assert verdict.score == 1.0


async def test_kwargs_that_are_no_json_are_refused_by_name(runner: CodeRunner) -> None:
    """An in-process caller may hand over anything; what the wire cannot carry, the sandbox does not get."""
    verdict = await runner.score(GOOD, EXCHANGE, {"when": object()})
    assert "kwargs cannot be handed to python_code" in (verdict.reason or "")


async def test_values_are_never_read_as_source(runner: CodeRunner) -> None:
    """Quotes, line ends and code in a text stay text."""
    nasty = "'''\"\"\"\\\n}}{score}\nimport os # {0!r}\x00"
    assert await seen(runner, "response_text, input_text, kwargs", "response_text", nasty) == nasty


async def test_nothing_is_left_for_the_next_call(runner: CodeRunner) -> None:
    """Neither globals, nor changed modules, nor the state of `random`."""
    first = "import math, random\nleft = 1\nmath.left = 1\n" + body("{'score': random.random()}")
    second = "import math, random\n" + HEAD + "found = hasattr(math, 'left')\n    try:\n        found = left\n"
    second += "    except NameError: pass\n    return {'score': 0.5 if found else random.random()}"
    clean = "import random\n" + body("{'score': random.random()}")
    await runner.score(first, EXCHANGE, {})
    scores = [(await runner.score(code, EXCHANGE, {})).score for code in [second, clean] * 4]
    assert len(set(scores)) == 1


async def test_sleep_takes_no_time(runner: CodeRunner) -> None:
    """A worker is not held up, and the score does not change."""
    started = time.perf_counter()
    verdict = await runner.score("import time\n" + HEAD + "time.sleep(60)\n    return {'score': 1}", EXCHANGE, {})
    assert verdict.score == 1.0
    assert time.perf_counter() - started < 5


async def test_code_does_not_run_its_main_block(runner: CodeRunner) -> None:
    """A file that tries itself out when run as a script works here too."""
    code = GOOD + "if __name__ == '__main__':\n    import numpy\n"
    assert (await runner.score(code, EXCHANGE, {})).score == 0.25


async def test_user_definitions_do_not_change_how_a_score_is_read(runner: CodeRunner) -> None:
    """The source may redefine any builtin for itself."""
    code = "str = repr = dict = float = isinstance = type = None\n" + GOOD
    assert (await runner.score(code, EXCHANGE, {})).score == 0.25


async def test_prints_are_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    """Also a flood of them, and on standard error; a worker started here inherits the captured streams."""
    runner = CodeRunner()
    code = "import sys\n" + HEAD + "for _ in range(20000): print('LEAK' * 200)\n    print('LEAK', file=sys.stderr)\n"
    verdict = await runner.score(code + "    return {'score': 1}", EXCHANGE, {})
    await runner.score(HEAD + "return 'a' * 10**11", EXCHANGE, {})
    await runner.aclose()
    assert verdict.score == 1.0
    assert capfd.readouterr() == ("", "")


async def test_fifty_concurrent_calls_each_get_their_own_answer(runner: CodeRunner) -> None:
    """More calls than workers wait; none is mixed up with another, slow and broken ones included."""
    codes = [body("{'score': kwargs['n'] / 100}"), body("1 / 0"), LOOP]
    asked = [(n, codes[1 if n % 10 == 1 else 2 if n == 25 else 0]) for n in range(50)]
    verdicts = await asyncio.gather(*(runner.score(code, EXCHANGE, {"n": n}) for n, code in asked))
    for (n, code), verdict in zip(asked, verdicts, strict=True):
        assert verdict.score == (n / 100 if code is codes[0] else None)


async def test_cancelled_call_frees_its_worker_at_once() -> None:
    """The cancellation comes through, and the only slot serves the next call long before the limit of the first."""
    runner = CodeRunner(CodeLimits(seconds=60, workers=1))
    await runner.score(GOOD, EXCHANGE, {})
    call = asyncio.create_task(runner.score(LOOP, EXCHANGE, {}))
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(10):
        verdict = await runner.score(GOOD, EXCHANGE, {})
    await runner.aclose()
    assert verdict.score == 0.25


async def test_cancelling_while_the_first_worker_starts_leaves_a_working_runner() -> None:
    """A call may be given up before there is anything to ask."""
    runner = CodeRunner(CodeLimits(workers=1))
    call = asyncio.create_task(runner.score(GOOD, EXCHANGE, {}))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert (await runner.score(GOOD, EXCHANGE, {})).score == 0.25
    await runner.aclose()


async def test_closing_ends_calls_in_flight_and_refuses_later_ones() -> None:
    """Both come back unscored with advice to retry; closing twice is harmless."""
    runner = CodeRunner(CodeLimits(seconds=60, workers=1))
    await runner.score(GOOD, EXCHANGE, {})
    running, waiting = (asyncio.create_task(runner.score(LOOP, EXCHANGE, {})) for _ in range(2))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(10):
        await runner.aclose()
    await runner.aclose()
    verdicts = [await running, await waiting, await runner.score(GOOD, EXCHANGE, {})]
    assert [(verdict.score, verdict.retryable) for verdict in verdicts] == [(None, True)] * 3


def descendants(pid: int) -> list[int]:
    """Process ids below `pid`, from /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def environment(pid: int) -> str:
    """The variables a process was started with."""
    return Path(f"/proc/{pid}/environ").read_text(errors="replace")


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@linux
async def test_a_killed_worker_is_replaced() -> None:
    """The out-of-memory killer may take a worker between two calls: the next call does not notice."""
    before = set(descendants(os.getpid()))
    runner = CodeRunner(CodeLimits(workers=1))
    await runner.score(GOOD, EXCHANGE, {})
    for pid in set(descendants(os.getpid())) - before:
        os.kill(pid, 9)
    await asyncio.sleep(0.2)
    verdict = await runner.score(GOOD, EXCHANGE, {})
    await runner.aclose()
    assert verdict.score == 0.25


@linux
async def test_a_worker_killed_while_it_runs_is_unscored_and_worth_a_retry() -> None:
    """Its loss says nothing about the code."""
    before = set(descendants(os.getpid()))
    runner = CodeRunner(CodeLimits(seconds=30, workers=1))
    await runner.score(GOOD, EXCHANGE, {})
    call = asyncio.create_task(runner.score(LOOP, EXCHANGE, {}))
    await asyncio.sleep(0.1)
    for pid in set(descendants(os.getpid())) - before:
        os.kill(pid, 9)
    verdict = await call
    await runner.aclose()
    assert (verdict.score, verdict.retryable) == (None, True)
    assert "sandbox" in (verdict.reason or "")


@linux
async def test_workers_get_no_secret_and_end_with_the_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's environment stays with the engine; no process is left behind."""
    monkeypatch.setenv("WITHPI_API_KEY", "hush-hush")
    before = set(descendants(os.getpid()))
    runner = CodeRunner(CodeLimits(workers=1))
    await runner.score(GOOD, EXCHANGE, {})
    workers = set(descendants(os.getpid())) - before
    assert workers
    assert not any("hush-hush" in environment(pid) for pid in workers)
    await runner.aclose()
    assert not workers & set(descendants(os.getpid()))


FORK = """
import asyncio, os
from pi_integrations.engine.judges.protocol import Exchange
from pi_integrations.engine.scoring.code_questions import CodeRunner

CODE = "def score(response_text, input_text, kwargs): return {'score': kwargs['n']}"
runner = CodeRunner()

def ask(n):
    return asyncio.run(runner.score(CODE, Exchange("", ""), {"n": n})).score

print(ask(0.1), flush=True)
pid = os.fork()
if not pid:
    print(ask(0.2), flush=True)
    asyncio.run(runner.aclose())
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(ask(0.3), ask(0.4), flush=True)
asyncio.run(runner.aclose())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
async def test_code_runs_on_both_sides_of_a_fork() -> None:
    """The child starts workers of its own; the parent's go on."""
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", FORK]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["0.1", "0.2", "0.3", "0.4"]


async def test_a_process_that_never_closes_its_runner_exits_cleanly() -> None:
    """Its workers see the pipe close and leave."""
    script = textwrap.dedent(FORK).partition("pid = ")[0]
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0.1\n", "")


@pytest.mark.parametrize(
    "limits",
    [{"seconds": 0}, {"seconds": float("nan")}, {"memory_bytes": 1000}, {"workers": 0}, {"recursion_depth": 0}],
)
async def test_limits_out_of_range_are_refused_by_name(limits: dict[str, Any]) -> None:
    """A limit cannot be switched off."""
    with pytest.raises(PiUsageError, match=next(iter(limits))):
        CodeLimits(**limits)
