"""A code question in the warm sandbox, beside a fresh Python process for every call, in the same run.

    python benchmarks/code_questions.py [--calls 400] [--rounds 5]

Each round runs the ways in turn, so that a drift of the machine touches all alike. Wall times are medians. CPU is that
of this process and its children together, without their start where they stay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from _tables import print_table

from pi_integrations.engine.judges.protocol import Exchange
from pi_integrations.engine.scoring.code_questions import CodeLimits, CodeRunner

CODE = """
import json
import re

def score(response_text: str, input_text: str, kwargs: dict) -> dict:
    wanted = [word.lower() for word in re.findall(r"[a-zA-Z]{4,}", input_text)]
    found = [word for word in wanted if word in response_text.lower()]
    dates = re.findall(r"\\b\\d{1,2} (?:May|June|July)\\b", response_text)
    limit = kwargs.get("limit", 200)
    short = len(response_text.split()) <= limit
    share = len(found) / max(len(wanted), 1)
    return {"score": 0.5 * share + 0.3 * bool(dates) + 0.2 * short, "explanation": json.dumps({"dates": dates})}
"""
EXCHANGE = Exchange(
    llm_input="When will my parcel arrive, and what does express delivery cost?",
    llm_output="It left our warehouse this morning and should be with you on 3 June. " * 14,
)
KWARGS = {"limit": 100}
# The least a process of its own can do: read, define, call, print. It has no limits and no sandbox.
PLAIN = """
import json, sys
given = json.load(sys.stdin)
scope = {}
exec(given["code"], scope)
print(json.dumps(scope["score"](given["response"], given["asked"], given["kwargs"])))
"""
Call = Callable[[], Awaitable[float | None]]


async def fresh_process() -> float | None:
    """The same score from a Python that starts, answers and ends."""
    given = {"code": CODE, "response": EXCHANGE.llm_output, "asked": EXCHANGE.llm_input, "kwargs": KWARGS}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", PLAIN, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate(json.dumps(given).encode())
    return float(json.loads(out)["score"])


def sandboxed(runner: CodeRunner) -> Call:
    """A call of the code question."""

    async def call() -> float | None:
        return (await runner.score(CODE, EXCHANGE, KWARGS)).score

    return call


async def one_by_one(call: Call, calls: int) -> list[float]:
    """Seconds of each call."""
    spent = []
    for _ in range(calls):
        started = time.perf_counter()
        await call()
        spent.append(time.perf_counter() - started)
    return spent


async def together(call: Call, calls: int) -> float:
    """Seconds per call, with all of them asked at once."""
    started = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(calls)))
    return (time.perf_counter() - started) / calls


def cpu() -> float:
    """CPU seconds of this process and of the children that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


async def sandbox_cpu(calls: int) -> float:
    """CPU seconds of `calls` calls in one sandbox, from its start to its end."""
    before = cpu()
    runner = CodeRunner(CodeLimits(workers=1))
    await one_by_one(sandboxed(runner), calls)
    await runner.aclose()
    return cpu() - before


async def process_cpu(calls: int) -> float:
    """CPU seconds of `calls` fresh processes."""
    before = cpu()
    await one_by_one(fresh_process, calls)
    return cpu() - before


async def first_call() -> float:
    """Seconds of the first call of a new runner, which starts its worker."""
    runner = CodeRunner()
    (spent,) = await one_by_one(sandboxed(runner), 1)
    await runner.aclose()
    return spent


async def main(calls: int, rounds: int) -> None:
    runner = CodeRunner()
    warm = sandboxed(runner)
    expected = await fresh_process()
    await together(warm, 4)
    assert await warm() == expected, "the sandbox and plain Python disagree"
    few = max(calls // 20, 5)
    alone, process, pair, cold = [], [], [], []
    for _ in range(rounds):
        alone += await one_by_one(warm, calls)
        process += await one_by_one(fresh_process, few)
        pair.append(await together(warm, calls))
        cold.append(await first_call())
    await runner.aclose()
    warm_cpu = (await sandbox_cpu(calls + 1) - await sandbox_cpu(1)) / calls
    fresh_cpu = await process_cpu(few) / few
    base, base_cpu = statistics.median(process), fresh_cpu

    def row(name: str, seconds: float, spent: float | None = None) -> list[str]:
        ratio = f"{base / seconds:.1f}×"
        return [
            name,
            f"{seconds * 1e3:.2f}",
            ratio,
            *((f"{spent * 1e3:.2f}", f"{base_cpu / spent:.1f}×") if spent else ("", "")),
        ]

    tail = sorted(alone)[int(len(alone) * 0.99)]
    print_table(
        f"Code questions, {rounds} rounds of {calls} calls (fresh processes: {few}), score {expected:.3f} in both",
        ["way", "ms a call", "faster by", "CPU ms a call", "less by"],
        [
            row("fresh Python process, no limits", base, fresh_cpu),
            row("sandbox, warm, one at a time", statistics.median(alone), warm_cpu),
            row("  its 99th percentile", tail),
            row("sandbox, warm, two workers", statistics.median(pair)),
            row("sandbox, first call of a runner", statistics.median(cold)),
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.calls, arguments.rounds))
