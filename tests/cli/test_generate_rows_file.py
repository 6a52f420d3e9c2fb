"""The file that `generate` appends to, cut off and otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from pi_integrations.cli.generate.rows_file import RowsFile
from pi_integrations.errors import PiUsageError

ROWS = [{"id": f"a-{index}", "llm_input": "Hi", "job_id": "a", "index": index} for index in range(3)]


def test_a_file_cut_off_at_any_byte_ends_up_whole(tmp_path: Path) -> None:
    """Every row once."""
    path = tmp_path / "rows.jsonl"
    with RowsFile(path) as file:
        for row in ROWS:
            file.write(row)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with RowsFile(path) as file:
            for row in ROWS[file.count("a") :]:
                file.write(row)
        assert path.read_bytes() == whole, f"cut at byte {cut}"


@pytest.mark.parametrize("content", ["a note whose line does not end", '{"a": 1}', "[1, 2]", "note\n"])
def test_a_file_of_something_else_is_refused_as_it_is(tmp_path: Path, content: str) -> None:
    """Also one without a last line feed."""
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(PiUsageError, match="choose another --output"):
        RowsFile(path)
    assert path.read_text() == content
