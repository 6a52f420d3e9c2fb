"""The OpenAPI document, completed with the models of bodies that routes read by hand."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

__all__ = ["describe_bodies"]


def describe_bodies(app: FastAPI, *models: type[BaseModel]) -> None:
    """Puts `models` and all they name under `components.schemas` of the app's OpenAPI document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        asked = [(model, "validation") for model in models]
        _, told = models_json_schema(asked, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name, schema in told["$defs"].items():
            schemas.setdefault(name, schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
