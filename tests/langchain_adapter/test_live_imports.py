"""What the parts for live traffic and agents load, and what they say where something is missing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADED = "import sys, json; print(json.dumps(sorted({m for m in sys.modules})))"


def test_the_handler_and_the_filter_load_no_agents() -> None:
    """LangChain's core is enough for them."""
    code = f"from pi_integrations.langchain import PiScoreCallbackHandler, PiDocumentFilter, PiDecisionModel\n{LOADED}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(json.loads(done.stdout)) & {"langchain", "langgraph", "langchain_classic", "fastapi", "llama_index"}


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("PiScoreCallbackHandler", "langchain_core", "langchain"),
        ("PiScoreMiddleware", "langchain", "langchain-agents"),
        ("PiScoreMiddleware", "langgraph", "langchain-agents"),
    ],
)
def test_a_missing_package_is_an_error_with_the_pip_command(name: str, missing: str, extra: str) -> None:
    """An ImportError that says what to run."""
    block = f"import sys; sys.modules[{missing!r}] = None\nfrom pi_integrations.langchain import {name}"
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith(
        f"ImportError: {name} needs {missing}; run: pip install 'pi-integrations[{extra}]'"
    )


def test_a_version_without_what_is_used_is_an_error_that_says_so() -> None:
    """As langchain was before it let a model call write into the state."""
    block = """
import langchain.agents.middleware
del langchain.agents.middleware.ExtendedModelResponse
from pi_integrations.langchain import PiScoreMiddleware
"""
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: PiScoreMiddleware needs a newer langchain (cannot import name")
    assert last.endswith("run: pip install 'pi-integrations[langchain-agents]'")
