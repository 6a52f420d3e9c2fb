"""A receiver of webhooks on this machine, which can be told to fail."""

from __future__ import annotations

import asyncio
import base64
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr
from tiny_jobs import eventually, settings_at

from pi_integrations.engine.jobs import JobSettings

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()


@dataclass
class Receiver:
    """Answers each path with the statuses it was given, then with 200; keeps what it was sent."""

    url: str = ""
    statuses: dict[str, list[int]] = field(default_factory=dict)
    location: str = ""
    got: dict[str, list[tuple[dict[str, str], bytes]]] = field(default_factory=lambda: defaultdict(list))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, *head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        path = request.split()[1]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
        self.got[path].append((headers, await reader.readexactly(int(headers["content-length"]))))
        left = self.statuses.get(path)
        status = left.pop(0) if left else 200
        writer.write(f"HTTP/1.1 {status} X\r\nlocation: {self.location}\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()

    async def wait_for(self, path: str, number: int = 1) -> None:
        """Waits for that many deliveries."""

        async def has_come() -> bool:
            return len(self.got[path]) >= number

        await eventually(has_come)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on this machine."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield receiver
    finally:
        server.close()


def allowing(folder: Path, receiver: Receiver) -> JobSettings:
    """Settings that allow the receiver's host."""
    host = receiver.url.removeprefix("http://")
    return settings_at(folder, webhook_hosts=(host,), webhook_secret=SecretStr(SECRET))
