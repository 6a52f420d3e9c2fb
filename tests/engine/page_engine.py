"""A real engine behind a port, for the page's tests; it can be stopped and started, and its answers lost."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import uvicorn
from questions import CLEAR, POLITE

from pi_integrations.engine.app import create_app
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.testing import ScriptedJudge

__all__ = ["Served"]


class Flaky:
    """An app whose answers get lost on the way, one for each fault that is put into `faults`.

    `cut` ends a stream after 700 bytes, wherever that is, and `anew` begins it at its first line although another was
    asked for, as a service does that knows no `start`; both send seven bytes at a time. `lost` does what a POST asks
    for and fails.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self.faults: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_stream = scope["type"] == "http" and scope["path"].endswith("/data")
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        wanted = ("cut", "anew") if is_stream else ("lost",) if is_post else ()
        if not self.faults or self.faults[0] not in wanted:
            await self._app(scope, receive, send)
            return
        fault = self.faults.pop(0)
        if fault == "anew":
            scope = {**scope, "query_string": b""}
        left = 700 if fault == "cut" else 10**9

        async def damaged(message: Any) -> None:
            nonlocal left
            if fault == "lost":
                return
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0] != b"x-pi-stream-start" or fault != "anew"]
                await send({**message, "headers": headers})
                return
            body = message["body"][:left]
            left -= len(body)
            for start in range(0, len(body), 7):
                await send({**message, "body": body[start : start + 7], "more_body": True})
            if not left or not message.get("more_body"):
                await send({**message, "body": b"", "more_body": False})
                left = 0

        await self._app(scope, receive, damaged)


class Served:
    """An engine behind a port, which it keeps when it is started again."""

    def __init__(self, **settings: Any) -> None:
        self._settings = EngineSettings(judge=ScriptedJudge({POLITE: 0.9, CLEAR: 0.4}), **settings)
        self._port = 0
        self.start()

    def start(self) -> None:
        """Serves what the data directory holds."""
        self._app = Flaky(create_app(self._settings))
        self.faults = self._app.faults
        self._server = uvicorn.Server(uvicorn.Config(self._app, port=self._port, log_level="error", ws="none"))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        self._port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Ends open connections too."""
        self._server.force_exit = self._server.should_exit = True
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it is served."""
        return f"http://127.0.0.1:{self._port}"

    async def job(self, path: str, **body: Any) -> str:
        """The id of a new job."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            return str((await http.post(path, json={"seeds": [], **body})).json()["job_id"])

    async def jobs(self, path: str) -> int:
        """How many jobs there are."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            return len((await http.get(path)).json())

    async def status(self, path: str, job_id: str) -> dict[str, Any]:
        """A job's status, with its data."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            return dict((await http.get(f"{path}/{job_id}")).json())

    async def ended(self, path: str, job_id: str) -> None:
        """Returns when a job has ended, and its messages with it."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            await http.get(f"{path}/{job_id}/messages")
