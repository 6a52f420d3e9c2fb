"""A whole `score` call in process with the scripted judge: CPU a call, its spread, and where the time goes.

    python benchmarks/in_process.py [--calls 3000] [--rounds 5]

The bound on the p99 is 1.5 × in flight × the mean CPU of a call: a queue that is fair, and nothing else, passes it.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import statistics
import time
from collections.abc import Callable

from _tables import print_table

from pi_integrations import AsyncPiClient, Question
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.testing import ScriptedJudge, embedded

SPEC = [Question(question=f"Does the answer keep promise number {i}?", label=f"promise {i}") for i in range(5)]
TEXT = "It left our warehouse this morning and should be with you on Thursday. " * 8
IN_FLIGHT = (1, 8, 32, 100)


async def measure(client: AsyncPiClient, calls: int, in_flight: int) -> tuple[float, float, float]:
    """CPU a call in µs, then the median and p99 latency in ms; every exchange differs, so nothing is cached."""
    numbers = iter(range(calls))
    latencies: list[float] = []

    async def worker() -> None:
        for number in numbers:
            started = time.perf_counter()
            await client.scoring_system.score(
                llm_input=f"{time.monotonic_ns()} {number}", llm_output=TEXT, scoring_spec=SPEC
            )
            latencies.append(time.perf_counter() - started)

    cpu = time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    cpu = (time.process_time() - cpu) / calls
    latencies.sort()
    return cpu * 1e6, latencies[calls // 2] * 1e3, latencies[int(calls * 0.99)] * 1e3


ROOMS = {
    "pi_integrations/client": "our client",
    "pi_integrations/engine": "our engine",
    "pi_integrations/models": "our models",
    "pydantic": "pydantic",
    "fastapi": "fastapi, starlette",
    "starlette": "fastapi, starlette",
    "asyncio": "asyncio, threads",
    "threading": "asyncio, threads",
    "concurrent": "asyncio, threads",
    "selectors": "asyncio, threads",
    "json": "json",
}


async def profile(client: AsyncPiClient, calls: int) -> list[list[str]]:
    """Own time by room, of the background loop, which does all the work but the caller's hop."""
    profiler = cProfile.Profile()

    async def toggle(switch: Callable[[], None]) -> None:
        switch()

    await loop_thread().hop(toggle(profiler.enable))
    await measure(client, calls, 8)
    await loop_thread().hop(toggle(profiler.disable))
    rooms: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        where = name if file == "~" else file
        if "poll" in where:
            continue
        room = next((title for part, title in ROOMS.items() if part in where), "other built-ins")
        rooms[room] = rooms.get(room, 0.0) + own
    total = sum(rooms.values())
    return [[room, f"{own / total:.0%}"] for room, own in sorted(rooms.items(), key=lambda item: -item[1])]


async def table(client: AsyncPiClient, calls: int, rounds: int) -> list[list[str]]:
    """A row per number in flight, medians over the rounds."""
    seen: dict[int, list[tuple[float, float, float]]] = {}
    for _ in range(rounds):
        for in_flight in IN_FLIGHT:
            seen.setdefault(in_flight, []).append(await measure(client, calls, in_flight))
    rows = []
    for in_flight, figures in seen.items():
        cpu, p50, p99 = (statistics.median(column) for column in zip(*figures, strict=True))
        bound = 1.5 * in_flight * cpu / 1e3
        rows.append([f"{in_flight}", f"{cpu:.0f}", *(f"{ms:.2f}" for ms in (p50, p99, bound, p99 / bound))])
    return rows


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    settings = EngineSettings(judge=ScriptedJudge(default=0.7, record=False))
    async with embedded(settings=settings, max_concurrency=100) as client:
        await measure(client, 200, 8)
        header = ["in flight", "CPU µs", "p50 ms", "p99 ms", "bound ms", "p99 / bound"]
        title = f"In process, scripted judge, five questions (median of {options.rounds} rounds)"
        print_table(title, header, await table(client, options.calls, options.rounds))
        # A full collection walks everything the process ever imported; `serve` freezes that, a library must not.
        gc.collect()
        gc.freeze()
        print_table(f"{title}, after gc.freeze()", header, await table(client, options.calls, options.rounds))
        print_table("Where the background loop's time goes (profiled)", ["room", "share"], await profile(client, 2000))


if __name__ == "__main__":
    asyncio.run(main())
