"""The engine's page at `/`: its jobs, their rows and messages as they arrive, and a scoring playground.

The page is files of this package and sends requests only to the engine that served it. Its files need no key: the page
asks for one where the engine does. Its forms and tables are built from `families.json`, which is made of the registry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from pi_integrations.models.families import JobFamily

__all__ = ["is_page", "page_routes"]

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    # Nothing that a job made or a model wrote can become HTML, not even by a mistake of the page's own.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
_HEADERS = {
    "content-security-policy": "; ".join(_POLICY),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    # Checked again each time, so that an engine never shows an older one's page.
    "cache-control": "no-cache",
}


def is_page(method: str, path: str) -> bool:
    """Whether a request is for a file of the page, which is the same for everybody."""
    return method in ("GET", "HEAD") and (path == "/" or path.startswith("/page/"))


def page_routes(families: Iterable[JobFamily[Any, Any, Any]]) -> APIRouter:
    """The page at `/`, and its parts below `/page/`."""
    router = APIRouter()
    for file in files("pi_integrations.engine").joinpath("page").iterdir():
        path = "/" if file.name == "index.html" else f"/page/{file.name}"
        _add(router, path, file.read_bytes(), _TYPES[file.name.rpartition(".")[2]])
    described = json.dumps([_family(family) for family in families], separators=(",", ":"))
    _add(router, "/page/families.json", described.encode(), "application/json")
    return router


def _add(router: APIRouter, path: str, content: bytes, kind: str) -> None:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    async def send(request: Request) -> Response:
        headers = {**_HEADERS, "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    router.add_api_route(path, send, methods=["GET", "HEAD"], include_in_schema=False, response_model=None)


def _family(family: JobFamily[Any, Any, Any]) -> dict[str, Any]:
    """A family as the page needs it: its path and kind, its items' form and columns, its request's fields."""
    schema = family.request.model_json_schema()
    required = schema.get("required", ())
    fields = [
        _field(name, each, name in required, schema.get("$defs", {}))
        for name, each in schema.get("properties", {}).items()
    ]
    items = None if family.item is None else "text" if family.item is str else "json"
    return {
        "path": family.path,
        "kind": family.kind,
        "items": items,
        "columns": _columns(family.item),
        "fields": fields,
    }


def _columns(item: type[Any] | None) -> list[str]:
    """The fields that every item has; one column of another name for items without fields."""
    if item is None:
        return []
    if item is str:
        # A bare text is an input, as in the JSONL that the page and the client write of it.
        return ["llm_input"]
    schema = TypeAdapter(item).json_schema()
    required = schema.get("required", ())
    return [name for name in schema.get("properties", {}) if name in required] or ["item"]


def _field(name: str, schema: Mapping[str, Any], required: bool, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A request's field from its JSON Schema. `type` is `json` where the schema has no single type.

    `minimum` is the bound itself where the bound is exclusive.
    """
    value = _resolved(schema, definitions)
    described = {
        "name": name,
        "type": value.get("type", "json"),
        "items": _resolved(value["items"], definitions).get("type", "json") if "items" in value else None,
        "enum": value.get("enum"),
        "default": schema.get("default"),
        "minimum": _first(value, "minimum", "exclusiveMinimum", "ge", "gt"),
        "maximum": _first(value, "maximum", "exclusiveMaximum", "le", "lt"),
        "description": schema.get("description"),
    }
    return {"required": required} | {key: found for key, found in described.items() if found is not None}


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema behind references and `| None`."""
    if reference := schema.get("$ref"):
        return _resolved(definitions[reference.rpartition("/")[2]], definitions)
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return _resolved(choices[0], definitions) if len(choices) == 1 else schema


def _first(schema: Mapping[str, Any], *keys: str) -> Any:
    # Pydantic writes `ge` and its like unchanged where a validator of one's own comes before the bound.
    return next((schema[key] for key in keys if key in schema), None)
