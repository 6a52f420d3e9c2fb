"""The notebooks in `cookbook/` run from top to bottom, warn of nothing, and show what they print."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "cookbook").rglob("*.ipynb"))


def shown(notebook: Any) -> list[list[tuple[str, str]]]:
    """What each code cell shows: streams, pictures and results as (kind, text)."""
    return [_whole(map(_text, cell.outputs)) for cell in notebook.cells if cell.cell_type == "code"]


def _text(output: Any) -> tuple[str, str]:
    data = output.get("data", {})
    text = output.get("text") or data.get("image/svg+xml") or data.get("text/plain", "")
    return output.get("name", output.output_type), text


def _whole(outputs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """With streams in one piece, which a busy kernel sends in several."""
    whole: list[tuple[str, str]] = []
    for kind, text in outputs:
        if whole and whole[-1][0] == kind and kind in ("stdout", "stderr"):
            text = whole.pop()[1] + text
        whole.append((kind, text))
    return whole


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_prints(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executed anew in a kernel of its own, its outputs equal those in the file; standard error stays empty."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there: a request to the network would fail
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    kept = shown(notebook)
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert shown(notebook) == kept
    assert not [kind for cell in kept for kind, _ in cell if kind in ("stderr", "error")]
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
