"""What each public name of `pi_integrations.langchain` loads, and what it says where something is missing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pi_integrations.langchain as adapter

LOADED = "import sys, json; print(json.dumps(sorted({m for m in sys.modules})))"


def modules_after(statement: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", f"{statement}\n{LOADED}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_package_itself_loads_no_framework() -> None:
    """Names resolve when first used."""
    loaded = modules_after("import pi_integrations.langchain")
    assert not loaded & {"langchain_core", "langchain_classic", "langsmith", "httpx", "pydantic"}


def test_the_evaluator_functions_load_no_framework() -> None:
    """They need neither LangChain nor openevals, to make or to call."""
    call = """
from pi_integrations.langchain import create_pi_evaluator
from pi_integrations.testing import scripted_client
with scripted_client(default=0.5) as client:
    evaluator = create_pi_evaluator([{"question": "a?"}], client=client)
    evaluator(inputs={"messages": [{"role": "user", "content": "Q"}]}, outputs={"answer": "A"})
"""
    assert not modules_after(call) & {"langchain_core", "langchain_classic", "langsmith", "openevals"}


def test_the_scorer_loads_no_evaluation_package() -> None:
    """LangChain's core loads LangSmith's client by itself; its evaluation and the classic package stay out."""
    loaded = modules_after("from pi_integrations.langchain import PiScorer")
    assert not loaded & {"langchain_classic", "langsmith.evaluation", "openevals", "fastapi"}


def test_all_names_resolve() -> None:
    """`__all__` equals what can be imported."""
    assert {name: getattr(adapter, name).__name__ for name in adapter.__all__} == {n: n for n in adapter.__all__}
    assert dir(adapter) == adapter.__all__
    with pytest.raises(AttributeError, match="PiScorre"):
        adapter.PiScorre  # noqa: B018


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("PiStringEvaluator", "langchain_classic", "langchain-classic"),
        ("PiPairwiseStringEvaluator", "langchain_classic", "langchain-classic"),
        ("PiScorer", "langchain_core", "langchain"),
        ("PiRunEvaluator", "langsmith", "langchain"),
    ],
)
def test_a_missing_package_is_an_error_with_the_pip_command(name: str, missing: str, extra: str) -> None:
    """An ImportError that says what to run."""
    block = f"import sys; sys.modules[{missing!r}] = None\nfrom pi_integrations.langchain import {name}"
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith(
        f"ImportError: {name} needs {missing}; run: pip install 'pi-integrations[{extra}]'"
    )
