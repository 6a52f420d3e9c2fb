"""Scoring specs from files: both generations, both formats, and errors that name the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from pi_integrations.cli.input_files import load_spec
from pi_integrations.errors import PiUsageError
from pi_integrations.models import DimensionSpec


def spec_file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_of_questions_is_read_from_yaml_and_json(tmp_path: Path) -> None:
    """The same spec in either format is the same spec."""
    yaml = spec_file(tmp_path, "a.yaml", "- question: Is it polite?\n  weight: 2\n")
    json = spec_file(tmp_path, "a.json", '\ufeff[{"question": "Is it polite?", "weight": 2}]')
    assert load_spec(yaml) == load_spec(json)


def test_a_mapping_with_dimensions_is_read(tmp_path: Path) -> None:
    """The other generation of the format."""
    path = spec_file(
        tmp_path, "d.yml", "dimensions:\n- label: T\n  sub_dimensions:\n  - {label: P, description: 'Is it polite?'}\n"
    )
    assert isinstance(load_spec(path), DimensionSpec)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", '[{"question": "Q?",}]', r"a\.json: not valid JSON: .* at line 1, column \d+"),
        ("a.yaml", "- question: Q?\n  weight: [1\n", r"a\.yaml: not valid YAML: .* at line 3, column 1"),
        ("a.yaml", "- question: !!python/object/apply:os.system [ls]\n", r"a\.yaml: not valid YAML: .* at line 1"),
        ("a.yaml", "- question: Q?\n  weight: -1\n", r"a\.yaml: scoring_spec\[0\]\.weight: .*0"),
        ("a.yaml", "- question: Q?\n  weight: .nan\n", r"a\.yaml: scoring_spec\[0\]\.weight: .*finite"),
        ("a.yaml", "", "the spec is empty"),
        ("a.json", " ", "the spec is empty"),
        ("a.yaml", "[]", "scoring_spec: is empty; give at least one question"),
        ("a.yaml", "just text", "a list of questions belongs"),
        ("a.yaml", "questions:\n- question: Q?", "make the list itself the whole file"),
        ("a.yaml", "name: x", "a mapping needs `dimensions:` .found: 'name'.; .*plain list"),
        ("a.txt", "- question: Q?", r"ends in \.json, \.yaml or \.yml"),
        ("a.json", "[" * 100_000, r"a\.json: .*recursion"),
    ],
)
def test_a_spec_at_fault_names_the_file_and_the_place(tmp_path: Path, name: str, text: str, says: str) -> None:
    """Line and column for syntax, the field for contents, a remedy for the rest."""
    with pytest.raises(PiUsageError, match=says):
        load_spec(spec_file(tmp_path, name, text))


def test_a_spec_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """No such file, and bytes that are not UTF-8."""
    with pytest.raises(PiUsageError, match=r"cannot read .*gone\.yaml"):
        load_spec(tmp_path / "gone.yaml")
    (tmp_path / "b.yaml").write_bytes(b"- question: \xff?")
    with pytest.raises(PiUsageError, match=r"b\.yaml: not valid UTF-8 \(byte 13\)"):
        load_spec(tmp_path / "b.yaml")
