"""CPU of one `score` call in the client's process, beside the libraries it stands on, against the same trivial server.

    python benchmarks/client_overhead.py [--calls 2000] [--rounds 5]

Each round runs every client once, in turn, so that a drift of the machine touches all alike; medians are shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import httpx
from _tables import fixed_server, print_table
from httpx_aiohttp import AiohttpTransport

from pi_integrations import AsyncPiClient, Question

QUESTIONS = [Question(question=f"Does the answer keep promise number {i}?", label=f"promise {i}") for i in range(5)]
ANSWER = json.dumps({"question_scores": {q.label: 0.7 for q in QUESTIONS}, "total_score": 0.7}).encode()
TEXT = "It left our warehouse this morning and should be with you on Thursday. " * 8
PATH = "/scoring_system/score"
IN_FLIGHT = (8, 32, 100)
Call = Callable[[], Awaitable[object]]


def payload() -> dict[str, object]:
    return {"llm_input": "Where is my order?", "llm_output": TEXT, "scoring_spec": [q.model_dump() for q in QUESTIONS]}


@asynccontextmanager
async def raw_aiohttp(url: str) -> AsyncIterator[Call]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:

        async def call() -> object:
            async with session.post(url + PATH, json=payload()) as response:
                return await response.json()

        yield call


@asynccontextmanager
async def plain_httpx(url: str, transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[Call]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(transport=transport, limits=limits, timeout=30) as client:

        async def call() -> object:
            return (await client.post(url + PATH, json=payload())).json()

        yield call


@asynccontextmanager
async def httpx_over_aiohttp(url: str) -> AsyncIterator[Call]:
    async with plain_httpx(url, AiohttpTransport()) as call:
        yield call


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Call]:
    async with AsyncPiClient(base_url=url, api_key="benchmark", max_concurrency=100) as client:

        async def call() -> object:
            return await client.scoring_system.score(
                llm_input="Where is my order?", llm_output=TEXT, scoring_spec=QUESTIONS
            )

        yield call


@asynccontextmanager
async def ours_unbound(url: str) -> AsyncIterator[Call]:
    client = AsyncPiClient(base_url=url, api_key="benchmark", max_concurrency=100)

    async def call() -> object:
        return await client.scoring_system.score(
            llm_input="Where is my order?", llm_output=TEXT, scoring_spec=QUESTIONS
        )

    yield call
    await client.aclose()


CLIENTS = {
    "aiohttp": raw_aiohttp,
    "httpx over aiohttp": httpx_over_aiohttp,
    "httpx": plain_httpx,
    "AsyncPiClient, async with": ours,
    "AsyncPiClient, background loop": ours_unbound,
}


async def cpu_per_call(make: Callable[..., object], url: str, calls: int, in_flight: int) -> float:
    """Microseconds of this process's CPU per call."""
    async with make(url) as call:  # type: ignore[attr-defined]
        remaining = iter(range(calls))

        async def worker() -> None:
            for _ in remaining:
                await call()

        await asyncio.gather(*(call() for _ in range(in_flight)))
        started = time.process_time()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return (time.process_time() - started) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    measured: dict[tuple[str, int], list[float]] = {}
    with fixed_server(ANSWER) as url:
        for _ in range(options.rounds):
            for in_flight in IN_FLIGHT:
                for name, make in CLIENTS.items():
                    cpu = asyncio.run(cpu_per_call(make, url, options.calls, in_flight))
                    measured.setdefault((name, in_flight), []).append(cpu)
    median = {key: statistics.median(values) for key, values in measured.items()}
    for base in ("aiohttp", "httpx over aiohttp"):
        rows = [
            [
                name,
                *(f"{median[name, n]:.0f}" for n in IN_FLIGHT),
                *(f"{median[name, n] / median[base, n]:.2f}" for n in IN_FLIGHT),
            ]
            for name in CLIENTS
        ]
        header = ["client", *(f"µs @{n}" for n in IN_FLIGHT), *(f"ratio @{n}" for n in IN_FLIGHT)]
        print_table(f"CPU per call, ratio to {base} (median of {options.rounds} rounds)", header, rows)


if __name__ == "__main__":
    main()
