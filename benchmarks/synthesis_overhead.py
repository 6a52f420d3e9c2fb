"""What a generated pair costs besides the model: comparing, recording, committing, and the rest.

    python benchmarks/synthesis_overhead.py [--pairs 500] [--batch-size 5] [--rounds 3]

The real job engine on an SQLite file, one job at a time, with a scripted model that answers at once, so that what is
left is ours. Times are wall-clock times of one batch after the other, divided by the pairs accepted. Aim: below 10 ms a
pair besides the model. `processor` is the time that the process kept a core busy, the model's included: on a machine
with other work it is the steadier figure.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from _tables import print_table

from pi_integrations.engine.jobs.engine import JobEngine
from pi_integrations.engine.jobs.family import FamilyWork, Run
from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.engine.synthesis.accepted_items import AcceptedItems
from pi_integrations.engine.synthesis.families import synthesis_families
from pi_integrations.engine.synthesis.scripted_generator import ScriptedGenerator

SPENT: Counter[str] = Counter()
SEEDS = [{"llm_input": "Where is my parcel?", "llm_output": "On its way."}]


class TimedGenerator(ScriptedGenerator):
    """Counts the time it takes."""

    async def _agenerate(self, *args: Any, **given: Any) -> Any:
        started = time.perf_counter()
        try:
            return await super()._agenerate(*args, **given)
        finally:
            SPENT["model"] += time.perf_counter() - started


class TimedRun:
    """Counts the time that recording and committing take, without that of the calls recorded."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.job_id = run.job_id

    @property
    def progress(self) -> Mapping[str, Any] | None:
        return self._run.progress

    async def rows(self) -> list[Any]:
        return await self._run.rows()

    async def recorded(self, key: str, call: Callable[[], Awaitable[Any]]) -> Any:
        async def timed() -> Any:
            begun = time.perf_counter()
            try:
                return await call()
            finally:
                SPENT["calls"] += time.perf_counter() - begun
                SPENT["recording"] -= time.perf_counter() - begun

        started = time.perf_counter()
        try:
            return await self._run.recorded(key, timed)
        finally:
            SPENT["recording"] += time.perf_counter() - started

    async def commit(
        self, *, rows: Sequence[Any] = (), messages: Sequence[str] = (), progress: Mapping[str, Any] | None = None
    ) -> None:
        started = time.perf_counter()
        await self._run.commit(rows=rows, messages=messages, progress=progress)
        SPENT["committing"] += time.perf_counter() - started


def timed(family: FamilyWork[Any], over: asyncio.Event) -> FamilyWork[Any]:
    """The family, its work timed."""

    async def work(request: Any, run: Run) -> Mapping[str, Any]:
        started, worked = time.perf_counter(), time.process_time()
        try:
            return await family.work(request, TimedRun(run))
        finally:
            SPENT["all"] += time.perf_counter() - started
            SPENT["processor"] += time.process_time() - worked
            over.set()

    return replace(family, work=work)


def time_comparing() -> None:
    """Counts the time that comparing with the accepted items takes, the hop to its thread included."""
    plain = AcceptedItems._threaded

    async def _threaded(self: AcceptedItems, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        try:
            return await plain(self, work)
        finally:
            SPENT["comparing"] += time.perf_counter() - started

    AcceptedItems._threaded = _threaded  # type: ignore[method-assign]


async def one_round(pairs: int, batch_size: int, folder: Path) -> dict[str, float]:
    """Milliseconds a pair by part."""
    SPENT.clear()
    over = asyncio.Event()
    family = timed(synthesis_families(TimedGenerator(record=False), None)[0], over)
    engine = JobEngine(JobSettings(data_dir=folder), [family])
    await engine.start()
    try:
        body = {"num_pairs_to_generate": pairs, "seeds": SEEDS, "batch_size": batch_size}
        await engine.submit(family, family.family.request.model_validate(body), owner="benchmark")
        await over.wait()
    finally:
        await engine.stop()
    SPENT["asking"] = SPENT["calls"] - SPENT["model"]
    ours = SPENT["all"] - SPENT["model"]
    SPENT["rest"] = ours - sum(SPENT[part] for part in ("comparing", "recording", "committing", "asking"))
    SPENT["besides the model"] = ours
    return {part: 1000 * seconds / pairs for part, seconds in SPENT.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    time_comparing()
    rounds = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(asyncio.run(one_round(given.pairs, given.batch_size, Path(folder))))
    parts = ["model", "asking", "comparing", "recording", "committing", "rest", "besides the model", "processor"]
    listed = [[part, *(f"{told[part]:.2f}" for told in rounds)] for part in parts]
    listed = [[*row, f"{statistics.median(told[row[0]] for told in rounds):.2f}"] for row in listed]
    header = ["ms a pair", *(f"round {n + 1}" for n in range(given.rounds)), "median"]
    print_table(
        f"{given.pairs} pairs in batches of {given.batch_size}, SQLite, aim < 10 ms besides the model", header, listed
    )


if __name__ == "__main__":
    main()
