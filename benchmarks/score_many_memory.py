"""Peak memory of `score_many` over generated rows with the scripted judge, at growing row counts: flat or not.

python benchmarks/score_many_memory.py [--rows 1000000]
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from collections.abc import Iterator

from _tables import print_table

from pi_integrations import Question
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.testing import ScriptedJudge, embedded

SPEC = [Question(question="Is the answer polite?", label="Polite")]


def generated(count: int) -> Iterator[dict[str, str]]:
    for number in range(count):
        yield {"llm_input": f"Question {number}?", "llm_output": f"Answer {number}. " * 10}


async def scored(count: int) -> tuple[int, float]:
    """Rows scored and the seconds they took."""
    settings = EngineSettings(judge=ScriptedJudge(default=0.7, record=False))
    started = time.perf_counter()
    done = 0
    async with embedded(settings=settings) as client:
        async for row in client.scoring_system.score_many(generated(count), scoring_spec=SPEC):
            done += row.result is not None
    return done, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    table = []
    for count in (rows // 100, rows // 10, rows):
        done, seconds = asyncio.run(scored(count))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table.append([f"{count:,}", f"{done:,}", f"{peak:.1f}", f"{seconds:.0f}", f"{count / seconds:.0f}"])
    print_table(
        "score_many, scripted judge in process; the peak is of the process so far",
        ["rows", "scored", "peak MiB", "seconds", "rows/s"],
        table,
    )


if __name__ == "__main__":
    main()
