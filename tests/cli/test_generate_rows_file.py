"""The file that `generate` appends to, cut off and otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from pi_integrations.cli.generated_rows import RowsFile
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


def test_a_file_that_is_written_to_is_refused_to_others(tmp_path: Path) -> None:
    """From before the first row until the end; one that was begun anew is not cut off by a second."""
    path = tmp_path / "rows.jsonl"
    with RowsFile(path) as file:
        for row in ROWS:
            with pytest.raises(PiUsageError, match="another process is writing"):
                RowsFile(path)
            file.write(row)
    with RowsFile(path) as file:
        assert file.count("a") == 3


def test_a_file_to_which_nothing_was_written_is_not_left_behind(tmp_path: Path) -> None:
    """While one that was there before stays."""
    there = tmp_path / "there.jsonl"
    there.touch()
    for path in (there, tmp_path / "new.jsonl"):
        with RowsFile(path):
            pass
    assert list(tmp_path.iterdir()) == [there]
