"""Job engines for tests: one in this process behind the real routes, and a Postgres of our own where there is one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The tests that kill processes use those of the benchmarks.
sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from _postgres import NoPostgres, Postgres, private_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running Postgres server, or a skip that says why there is none."""
    try:
        context = private_postgres()
        server = context.__enter__()
    except NoPostgres as reason:
        pytest.skip(f"no Postgres to test with: {reason}")
    yield server
    context.__exit__(None, None, None)


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The URL of a database of one's own."""
    return postgres.new_database()
