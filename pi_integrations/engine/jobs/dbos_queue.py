"""DBOS, which no other module imports: queues that start each attempt of a job in exactly one process.

What a job has made is in tables of our own, so a workflow here is one call that may run again at any time. DBOS is a
singleton of the process: one `DbosQueue` may be launched at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from pi_integrations.engine.jobs.database import dbos_connections
from pi_integrations.errors import PiUsageError

__all__ = ["DbosQueue", "QueueAway", "WorkflowState", "workflow_id"]

# Recovery is tied to it: a new number would leave the jobs of older engines behind.
_APPLICATION_VERSION = "pi-jobs-1"
# All queues together; a poll costs some three milliseconds of processor time.
_POLLS_A_SECOND = 4
_SLOWEST_POLL = 1.0
# Takeovers are rare, and their workers were silent for seconds before.
_TAKEOVER_POLL = 2.0
_TAKEOVERS = 2
_STATES_AT_A_TIME = 500
_CONNECTIONS = 8
_PATIENCE_SECONDS = 10.0
_STOPPING_SECONDS = 0.2
T = TypeVar("T")
_launched: DbosQueue | None = None


class QueueAway(Exception):
    """The queue did not answer, as when its database is away."""


class WorkflowState(NamedTuple):
    """A workflow as DBOS reports it: its status, such as ENQUEUED or PENDING, and the worker that runs it."""

    status: str
    worker: str | None


class DbosQueue:
    """Puts attempts of jobs on queues, and runs each in one of the processes that listen.

    Args:
        url: SQLAlchemy URL of DBOS's own tables.
        worker: This process's id, unlike any other's.
        queues: The queues this process works on, and how many attempts at a time on each. Each has a second one for
            what dead workers left, which takes twice as many: the living may be full when a peer dies.
        run_attempt: Called with a job's id and attempt, on the loop that launched.
    """

    def __init__(
        self,
        url: str,
        worker: str,
        queues: Mapping[str, int],
        run_attempt: Callable[[str, int], Coroutine[Any, Any, None]],
    ) -> None:
        self._url = url
        self._worker = worker
        self._queues = queues
        self._run_attempt = run_attempt
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="pi-jobs-queue")

    async def launch(self) -> None:
        """Joins the database's workers.

        Raises:
            PiUsageError: when this process has a job engine already, or the database cannot be used.
        """
        global _launched
        self.check_alone()
        _launched = self
        self._loop = asyncio.get_running_loop()
        try:
            # In a thread, here and below: on a loop's own thread DBOS takes over the loop and its thread pool.
            await asyncio.to_thread(self._launch)
        except BaseException as error:
            await self.stop()
            if not isinstance(error, Exception):
                raise
            reason = f"{type(error).__name__}: {error}"
            raise PiUsageError(
                f"the job queue could not be started: {reason}. Check --database-url, or --data-dir"
            ) from error

    def check_alone(self) -> None:
        """Raises PiUsageError when this process has a job engine already."""
        if _launched not in (None, self):
            raise PiUsageError("this process runs a job engine already; give the second app jobs=None")

    def _launch(self) -> None:
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        DBOS(
            config=DBOSConfig(
                name="pi-integrations",
                system_database_url=self._url,
                db_engine_kwargs=dbos_connections(self._url),
                sys_db_pool_size=_CONNECTIONS,
                executor_id=self._worker,
                application_version=_APPLICATION_VERSION,
                serializer=DBOSPortableJSONSerializer(),
                log_level="CRITICAL",
                run_migrations=True,
                # No notifications are sent; how often DBOS looks for them is how long it takes to stop.
                use_listen_notify=False,
                notification_listener_polling_interval_sec=_STOPPING_SECONDS,
            )
        )
        DBOS.listen_queues([name for queue in self._queues for name in (queue, _taken_over(queue))])
        DBOS.launch()
        every = min(_SLOWEST_POLL, len(self._queues) / _POLLS_A_SECOND)
        for queue, at_a_time in self._queues.items():
            _register(queue, at_a_time, every)
            _register(_taken_over(queue), _TAKEOVERS * at_a_time, _TAKEOVER_POLL)

    async def _call(self, function: Callable[[], T]) -> T:
        """The result of `function`, from a thread of our own.

        Raises:
            QueueAway: when it failed, or took more than ten seconds (DBOS itself waits for a minute for a database that
                is away); it may still be done later.
        """
        called = asyncio.get_running_loop().run_in_executor(self._threads, function)
        try:
            return await asyncio.wait_for(called, _PATIENCE_SECONDS)
        except TimeoutError:
            raise QueueAway(f"no answer within {_PATIENCE_SECONDS:g} s") from None
        except Exception as error:
            raise QueueAway(f"{type(error).__name__}: {error}") from error

    async def enqueue(self, job_id: str, attempt: int, family: str, *, taken_over: bool = False) -> None:
        """Puts an attempt on its family's queue, or on the one for what dead workers left; safe to repeat."""
        queue = _taken_over(family) if taken_over else family

        def enqueue() -> None:
            with SetWorkflowID(workflow_id(job_id, attempt)):
                DBOS.enqueue_workflow(queue, _attempt, job_id, attempt)

        await self._call(enqueue)

    async def cancel(self, job_id: str, attempt: int) -> None:
        """Takes an attempt off its queue, and off the count of those at work."""
        await self._call(lambda: DBOS.cancel_workflow(workflow_id(job_id, attempt)))

    async def states(self, workflows: Iterable[str]) -> dict[str, WorkflowState]:
        """The state of each of these workflows that DBOS knows."""
        ids = list(workflows)
        states: dict[str, WorkflowState] = {}
        for first in range(0, len(ids), _STATES_AT_A_TIME):
            states.update(await self._call(partial(_states, ids[first : first + _STATES_AT_A_TIME])))
        return states

    async def delete(self, job_id: str, attempts: int) -> None:
        """Removes what DBOS keeps of a job with so many attempts."""
        ids = [workflow_id(job_id, attempt) for attempt in range(1, attempts + 1)]
        await self._call(lambda: DBOS.delete_workflows(ids))

    async def stop(self) -> None:
        """Leaves the database's workers; other workers continue what ran here."""
        global _launched
        if _launched is self:
            await asyncio.to_thread(DBOS.destroy)
            _launched = None
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run_on_own_loop(self, job_id: str, attempt: int) -> None:
        """Runs an attempt on the loop that launched, awaited from the loop of DBOS."""
        work = asyncio.run_coroutine_threadsafe(self._run_attempt(job_id, attempt), self._loop)
        await asyncio.wrap_future(work)


def workflow_id(job_id: str, attempt: int) -> str:
    """The DBOS workflow of one attempt of a job."""
    return f"{job_id}:{attempt}"


def _taken_over(queue: str) -> str:
    return f"{queue}#taken-over"


def _register(queue: str, at_a_time: int, every: float) -> None:
    DBOS.register_queue(queue, worker_concurrency=at_a_time, polling_interval_sec=every, on_conflict="always_update")


def _states(ids: list[str]) -> dict[str, WorkflowState]:
    found = DBOS.list_workflows(workflow_ids=ids, load_input=False, load_output=False)
    return {each.workflow_id: WorkflowState(str(each.status), each.executor_id) for each in found}


@DBOS.workflow(name="pi_job_attempt")
async def _attempt(job_id: str, attempt: int) -> None:
    if _launched is None:
        raise asyncio.CancelledError("the job engine stopped")
    await _launched.run_on_own_loop(job_id, attempt)
