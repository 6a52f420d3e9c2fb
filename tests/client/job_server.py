"""A job service on a raw socket, which follows the wire contract until a test tells it to go wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from fault_server import http

from pi_integrations.client.loop_thread import LoopThread

PAIRS = "/data/generate_input_response_pairs"
INPUTS = "/data/generate"
HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class JobServer:
    """One job, `job-1`, with `rows` and `messages` as its lines.

    Attributes:
        honours_start: Whether `?start=N` is obeyed, and said so; else every stream begins at 0.
        cuts: What the next data streams suffer: an int cuts the connection after so many bytes of the answer, HOLD
            sends all lines and then nothing, None and an empty list do no harm.
        overrides: Answers as they are for the next requests of "METHOD path".
        framed: Whether bodies of streams are chunked; else they end with the connection.
        last_feed: Whether the last line ends in a line feed.
    """

    rows: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=lambda: ["LAUNCHING", "RUNNING", "DONE"])
    state: str = "DONE"
    honours_start: bool = True
    knows_data_false: bool = True
    cuts: list[int | str | None] = field(default_factory=list)
    overrides: dict[str, list[bytes]] = field(default_factory=dict)
    framed: bool = True
    last_feed: bool = True
    content_type: str = "text/plain; charset=utf-8"
    error: str | None = None
    on_stream_end: Callable[[], None] = lambda: None
    url: str = ""
    asked: list[Asked] = field(default_factory=list, repr=False)
    keys: dict[str, str] = field(default_factory=dict)
    open_streams: int = 0

    def paths(self, ending: str) -> list[Asked]:
        """The requests for paths that end so."""
        return [asked for asked in self.asked if asked.path.endswith(ending)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = await _read_request(reader)
                self.asked.append(asked)
                if not await self._answer(asked, reader, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        waiting = self.overrides.get(f"{asked.method} {asked.path}", [])
        if waiting:
            writer.write(waiting.pop(0))
            await writer.drain()
            return False
        if asked.path.endswith(("/data", "/messages")):
            return await self._stream(asked, reader, writer)
        writer.write(self._plain(asked))
        await writer.drain()
        return True

    def _plain(self, asked: Asked) -> bytes:
        if asked.method == "POST":
            job = self.keys.setdefault(asked.headers["idempotency-key"], f"job-{len(self.keys) + 1}")
            return http(200, {"job_id": job, "state": "QUEUED", "detailed_status": ["LAUNCHING"]})
        if asked.method == "DELETE":
            self.state = "CANCELLED"
            return http(200, '"cancelled"')
        if asked.path.rpartition("/")[2] != "job-1":
            return http(404, {"detail": "no such job"}) if asked.path.count("/") == 3 else http(200, [self._status()])
        return http(200, self._status(whole=not (self.knows_data_false and asked.query.get("data") == ["false"])))

    def _status(self, *, whole: bool = False) -> dict[str, object]:
        status = {"job_id": "job-1", "state": self.state, "detailed_status": self.messages, "error": self.error}
        data = [json.loads(row) if row.startswith("{") else row for row in self.rows] if whole else None
        return {**status, "data": data}

    async def _stream(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        cut = self.cuts.pop(0) if self.cuts and asked.path.endswith("/data") else None
        self.open_streams += 1
        sent = 0
        try:
            async for piece in self._pieces(asked, cut):
                if reader.at_eof():
                    return False
                if isinstance(cut, int) and sent + len(piece) > cut:
                    writer.write(piece[: cut - sent])
                    await writer.drain()
                    return False
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
            self.on_stream_end()
            return self.framed
        finally:
            self.open_streams -= 1

    async def _pieces(self, asked: Asked, cut: int | str | None) -> AsyncIterator[bytes]:
        lines = self.rows if asked.path.endswith("/data") else self.messages
        start = int(asked.query.get("start", ["0"])[0]) if self.honours_start else 0
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {self.content_type}\r\n"
        head += "transfer-encoding: chunked\r\n" if self.framed else "connection: close\r\n"
        head += f"x-pi-stream-start: {start}\r\n" if self.honours_start else ""
        yield f"{head}\r\n".encode()
        while True:
            final = self.state in ("DONE", "ERROR", "CANCELLED")
            while start < len(lines):
                batch = lines[start : start + 500]
                start += len(batch)
                last = final and not self.last_feed and start == len(lines)
                yield self._chunk(("\n".join(batch) + ("" if last else "\n")).encode("utf-8", "surrogateescape"))
            if final and cut != HOLD:
                break
            yield b""
            await asyncio.sleep(0.002)
        if self.framed:
            yield b"0\r\n\r\n"

    def _chunk(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self.framed else data


async def _read_request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *rest = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    return Asked(method, parts.path, parse_qs(parts.query), headers, body)


@contextmanager
def job_server(**given: object) -> Iterator[JobServer]:
    """A `JobServer` on a loop and thread of its own."""
    jobs = JobServer(**given)  # type: ignore[arg-type]
    thread = LoopThread("job-server")
    server = thread.run(_start(jobs))
    jobs.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield jobs
    thread.run(_stop(server))
    loop = thread.loop
    loop.call_soon_threadsafe(loop.stop)
    assert thread.thread is not None
    thread.thread.join()
    loop.close()


async def _start(jobs: JobServer) -> asyncio.Server:
    return await asyncio.start_server(jobs.serve, "127.0.0.1", 0)


async def _stop(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
