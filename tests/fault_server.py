"""A server that gives answers no healthy server gives: raw bytes from a list, one a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pi_integrations.client.loop_thread import LoopThread

SCORES = {"question_scores": {"polite": 0.9}, "total_score": 0.9}


def http(status: int, body: bytes | str | object = b"", **headers: str) -> bytes:
    """A whole HTTP response; `body` that is neither bytes nor text is sent as JSON."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    fields = {"content-length": str(len(data)), "content-type": "application/json"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + data


OK = http(200, SCORES)


@dataclass
class FaultServer:
    """Gives `answers` in order, the last one for ever; an empty one closes the connection, None never answers."""

    answers: list[bytes | None]
    url: str = ""
    requests: list[bytes] = field(default_factory=list, repr=False)
    concurrent: int = 0
    most_concurrent: int = 0
    delay: float = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                self.requests.append(head + await reader.readexactly(length))
                self.concurrent += 1
                self.most_concurrent = max(self.most_concurrent, self.concurrent)
                await asyncio.sleep(self.delay)
                self.concurrent -= 1
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    await asyncio.sleep(30)
                writer.write(answer or b"")
                await writer.drain()
                if answer != OK:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@contextmanager
def fault_server(*answers: bytes | None, delay: float = 0.0) -> Iterator[FaultServer]:
    """A `FaultServer` on a loop and thread of its own."""
    faults = FaultServer(list(answers), delay=delay)
    thread = LoopThread("fault-server")
    server = thread.run(_start(faults))
    faults.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield faults
    thread.run(_stop(server))


async def _start(faults: FaultServer) -> asyncio.Server:
    return await asyncio.start_server(faults.serve, "127.0.0.1", 0)


async def _stop(server: asyncio.Server) -> None:
    server.close()
    current = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not current]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
