"""`/`: a page to look at an engine with: its jobs, what they make as they make it, and a scoring playground.

The page is files of this package and asks nobody but the engine that served it. It needs no key: it asks for one where
the engine does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.responses import Response

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
    # Asked for again each time, so that an engine never shows an older one's page.
    "cache-control": "no-cache",
}


def is_page(method: str, path: str) -> bool:
    """Whether a request is for a file of the page, which is the same for everybody."""
    return method in ("GET", "HEAD") and (path == "/" or path.startswith("/page/"))


def page_routes() -> APIRouter:
    """The page at `/`, and its parts below `/page/`."""
    router = APIRouter()
    for file in files("pi_integrations.engine").joinpath("page").iterdir():
        path = "/" if file.name == "index.html" else f"/page/{file.name}"
        kind = _TYPES[file.name.rpartition(".")[2]]
        router.add_api_route(
            path,
            _sender(file.read_bytes(), kind),
            methods=["GET", "HEAD"],
            include_in_schema=False,
            response_model=None,
        )
    return router


def _sender(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    async def send(request: Request) -> Response:
        headers = {**_HEADERS, "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return send
