"""Scoring specs read from JSON and YAML files, of either generation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from pi_integrations.errors import PiUsageError
from pi_integrations.models import DimensionSpec, Question, parse_spec

__all__ = ["load_spec"]


def load_spec(path: Path) -> list[Question] | DimensionSpec:
    """The checked spec in `path`: a list of questions, or a mapping with `dimensions`; `.json`, `.yaml` or `.yml`.

    Raises:
        PiUsageError: naming the file and the line and column of a syntax error, or the field at fault.
    """
    value = _parsed(path, _read(path))
    if value is None:
        raise PiUsageError(f"{path}: the spec is empty; write a list of questions, each with `question:`")
    if isinstance(value, dict) and "dimensions" not in value:
        raise PiUsageError(f"{path}: {_not_a_spec(value)}")
    if not isinstance(value, dict | list):
        raise PiUsageError(f"{path}: a single value where a list of questions belongs; write `- question: …`")
    try:
        return parse_spec(value)
    except PiUsageError as error:
        raise PiUsageError(f"{path}: {error}") from None


def _read(path: Path) -> str:
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        raise PiUsageError(f"{path}: a spec file ends in .json, .yaml or .yml; rename it to match its content")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PiUsageError(f"{path}: not valid UTF-8 (byte {error.start + 1}); save the file as UTF-8") from None
    except OSError as error:
        raise PiUsageError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from None


def _parsed(path: Path, text: str) -> Any:
    try:
        return _from_json(text) if path.suffix.lower() == ".json" else _from_yaml(text)
    except (ValueError, RecursionError) as error:
        raise PiUsageError(f"{path}: {error}") from None


def _from_json(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None


def _from_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"not valid YAML: {error.problem or error.context}{place}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {error}") from None


def _not_a_spec(value: dict[str, Any]) -> str:
    found = ", ".join(map(repr, list(value)[:10])) or "nothing"
    if isinstance(value.get("questions"), list):
        return "the questions are under `questions:`; make the list itself the whole file"
    return (
        f"a mapping needs `dimensions:` (found: {found}); a spec of the current generation is a plain list of"
        " questions, each starting with `- question:`"
    )
