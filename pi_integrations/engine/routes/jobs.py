"""The routes that every job family has below its path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from functools import partial
from json import loads
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response, StreamingResponse

from pi_integrations.engine.jobs.engine import JobEngine, KeyConflict
from pi_integrations.engine.jobs.family import FamilyWork
from pi_integrations.engine.jobs.tables import JobRecord, JobView
from pi_integrations.engine.routes.answers import error_response, invalid_response, json_response, request_body
from pi_integrations.errors import PiUsageError
from pi_integrations.models.families import JobFamily
from pi_integrations.models.jobs import JobState
from pi_integrations.models.problems import describe
from pi_integrations.models.wire import (
    IDEMPOTENCY_HEADER,
    MAX_IDEMPOTENCY_KEY,
    RETRY_AFTER_HEADER,
    STREAM_START_HEADER,
)

__all__ = ["job_routes"]


def job_routes(engine: JobEngine, works: Iterable[FamilyWork[Any]]) -> APIRouter:
    """Start, list, get, cancel and follow, for each family."""
    router = APIRouter()
    for work in works:
        _add(router, _Handlers(engine, work), work.family)
    return router


def _add(router: APIRouter, handlers: _Handlers, family: JobFamily[Any, Any, Any]) -> None:
    path, job = family.path, family.path + "/{job_id}"
    status: dict[int | str, dict[str, Any]] = {200: {"model": family.status}}
    tags: list[Any] = [path.strip("/").split("/")[0]]
    add = partial(router.add_api_route, tags=tags, response_model=None)
    add(path, handlers.start, methods=["POST"], responses=status, openapi_extra=request_body(family.request))
    add(path, handlers.find, methods=["GET"])
    add(job, handlers.get, methods=["GET"], responses=status)
    add(job, handlers.cancel, methods=["DELETE"])
    add(job + "/messages", handlers.messages, methods=["GET"])
    if family.item is not None:
        add(job + "/data", handlers.data, methods=["GET"])


class _Handlers:
    """The handlers of one family's routes."""

    def __init__(self, engine: JobEngine, work: FamilyWork[Any]) -> None:
        self._engine = engine
        self._work = work
        self._family = work.family

    async def start(self, request: Request) -> Response:
        """Starts a job, and answers at once; the same `Idempotency-Key` and body answer the same job."""
        key = request.headers.get(IDEMPOTENCY_HEADER)
        if key is not None and not (key.isprintable() and 0 < len(key) <= MAX_IDEMPOTENCY_KEY):
            message = f"has {len(key)} characters; send 1 to {MAX_IDEMPOTENCY_KEY} printable ones"
            return invalid_response(["header", IDEMPOTENCY_HEADER], message)
        try:
            body: BaseModel = self._family.request.model_validate_json(await request.body())
        except ValidationError as error:
            return error_response(422, describe(error, prefix=["body"]), retryable=False)
        try:
            view = await self._engine.submit(self._work, body, owner=_owner(request), idempotency_key=key)
        except PiUsageError as error:
            return invalid_response(["body"], str(error))
        except KeyConflict:
            return error_response(409, "this Idempotency-Key started a job with another body", retryable=False)
        except SQLAlchemyError:
            return _away("The job may have been made: the same Idempotency-Key never makes two. ")
        return await self._answer(view)

    async def find(self, request: Request, state: str | None = None) -> Response:
        """The caller's jobs, newest first, at most 1,000: without their data, and with only their last messages."""
        try:
            wanted = JobState(state) if state else None
        except ValueError:
            states = ", ".join(JobState)
            return invalid_response(["query", "state"], f"is {state!r}; give one of {states}")
        try:
            found = await self._engine.find(self._work, owner=_owner(request), state=wanted)
            return json_response([self._status(view) for view in found])
        except SQLAlchemyError:
            return _away()

    async def get(self, request: Request, job_id: str) -> Response:
        """A job's status, with its data so far; `?data=false` leaves the data out."""
        rows = request.query_params.get("data") != "false"
        try:
            view = await self._engine.view(self._work, job_id, owner=_owner(request), rows=rows)
        except SQLAlchemyError:
            return _away()
        return self._unknown(job_id) if view is None else await self._answer(view)

    async def cancel(self, request: Request, job_id: str) -> Response:
        """Cancels a job and keeps what it made."""

        async def cancel(job: JobRecord) -> Response:
            if await self._engine.cancel(job):
                return json_response(f"job {job_id} is cancelled")
            return json_response(f"job {job_id} had ended already")

        return await self._with_job(request, job_id, cancel)

    async def messages(self, request: Request, job_id: str) -> Response:
        """The message lines from the start, followed until the job ends."""
        return await self._stream(request, job_id, "messages")

    async def data(self, request: Request, job_id: str) -> Response:
        """The rows from the start, one a line, followed until the job ends."""
        return await self._stream(request, job_id, "data")

    async def _stream(self, request: Request, job_id: str, stream: str) -> Response:
        start = request.query_params.get("start", "0")
        if not (start.isascii() and start.isdecimal() and len(start) < 10):
            return invalid_response(["query", "start"], f"is {start[:20]!r}; give the number of the first line, from 0")

        async def follow(job: JobRecord) -> Response:
            chunks = self._chunks(job.job_id, stream, int(start))
            headers = {STREAM_START_HEADER: start, "cache-control": "no-store", "x-accel-buffering": "no"}
            return StreamingResponse(chunks, media_type="text/plain; charset=utf-8", headers=headers)

        return await self._with_job(request, job_id, follow)

    async def _chunks(self, job_id: str, stream: str, start: int) -> AsyncIterator[bytes]:
        async with aclosing(self._engine.follow(job_id, stream, start)) as chunks:
            async for lines in chunks:
                if stream == "data":
                    lines = [self._family.encode_item(line) for line in lines]
                yield "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")

    async def _with_job(self, request: Request, job_id: str, answer: Any) -> Response:
        try:
            job = await self._engine.get(self._work, job_id, owner=_owner(request))
            if job is None:
                return self._unknown(job_id)
            response: Response = await answer(job)
            return response
        except SQLAlchemyError:
            return _away()

    def _unknown(self, job_id: str) -> Response:
        return error_response(404, f"no job {job_id[:64]!r} of yours at {self._family.path}", retryable=False)

    async def _answer(self, view: JobView) -> Response:
        # In a thread: a job may have a hundred thousand rows.
        return await self._engine.in_thread(lambda: json_response(self._status(view)))

    def _status(self, view: JobView) -> dict[str, Any]:
        job = view.record
        status: dict[str, Any] = {
            "job_id": job.job_id,
            "state": job.state.value,
            "detailed_status": view.messages,
            "created": job.created,
        }
        if self._family.item is not None:
            status["data"] = None if view.rows is None else [loads(row) for row in view.rows]
        if job.error is not None:
            status["error"] = job.error
        return {**status, **(job.progress or {}).get("status", {}), **job.result}


def _owner(request: Request) -> str:
    owner: str = request.scope.get("pi_owner", "")
    return owner


def _away(hint: str = "") -> Response:
    response = error_response(503, f"the engine's job database does not answer. {hint}Try again", retryable=True)
    response.headers[RETRY_AFTER_HEADER] = "2"
    return response
