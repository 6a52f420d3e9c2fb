"""The examples in `docs/langchain.md` and in the docstrings run as they stand."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

import pi_integrations.langchain as adapter

PAGE = Path(__file__).parents[2] / "docs" / "langchain.md"
FENCE = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    "PiPairwiseStringEvaluator",
    "PiRunEvaluator",
    "PiScorer",
    "PiStringEvaluator",
    "create_async_pi_evaluator",
    "create_pi_evaluator",
]

pytestmark = pytest.mark.filterwarnings("ignore:'upload_results' parameter is in beta")


def blocks(text: str) -> list[str]:
    return [textwrap.dedent(match[2]) for match in FENCE.finditer(text)]


def test_the_page_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    """In one namespace, as a reader would type it."""
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(PAGE.read_text(encoding="utf-8")):
        exec(compile(block, str(PAGE), "exec"), namespace)
    printed = capsys.readouterr().out
    assert "It left our warehouse this morning." in printed
    assert printed.count("'pi_score': ") == 2


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_in_a_docstring_runs(name: str) -> None:
    """Each public class and factory carries one."""
    (block,) = blocks(getattr(adapter, name).__doc__)
    exec(compile(block, name, "exec"), {"__name__": name})
