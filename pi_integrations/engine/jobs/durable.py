"""DBOS, and nothing of it elsewhere: the queue that starts each life of a job in exactly one process.

What a job has made is in tables of our own, and so a workflow here is one call that may run again at any time. DBOS is
a singleton of the process: one `Durable` may be launched at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from pi_integrations.engine.jobs.connections import dbos_connections
from pi_integrations.errors import PiUsageError

__all__ = ["ANNOUNCEMENTS", "Durable", "QueueAway", "WorkflowState", "announcement_id", "workflow_id"]

ANNOUNCEMENTS = "pi-webhooks"
# Recovery is tied to it; a new number would leave the jobs of older engines behind.
_APPLICATION_VERSION = "pi-jobs-1"
# All queues together; a poll costs some three milliseconds of processor time.
_POLLS_A_SECOND = 4
_SLOWEST_POLL = 1.0
# Jobs of the dead come rarely, and their workers were silent for seconds before.
_TAKEOVER_POLL = 2.0
_TAKEOVERS = 2
_ASKED_AT_A_TIME = 500
_CONNECTIONS = 8
_PATIENCE_SECONDS = 10.0
_STOPPING_SECONDS = 0.2
T = TypeVar("T")
_launched: Durable | None = None


class QueueAway(Exception):
    """The queue did not take or tell what it was asked, as when its database is away."""


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """What DBOS says of one life of a job: its status, such as ENQUEUED or PENDING, and who runs it."""

    status: str
    worker: str | None


class Durable:
    """Puts lives of jobs on queues, and calls `perform` for each in one of the processes that listen.

    Args:
        url: SQLAlchemy URL of DBOS's own tables.
        worker: This process's id, unlike any other's.
        queues: The queues this process works on, and how many workflows at a time on each. Each has a second one for
            what dead workers left, which takes twice as many: the living may be full when a peer dies.
        perform: Called with a job's id and life, on the loop that launched.
        announce: Called with the id of a job that ended and whose webhook is to be told.
    """

    def __init__(
        self,
        *,
        url: str,
        worker: str,
        queues: Mapping[str, int],
        perform: Callable[[str, int], Coroutine[Any, Any, None]],
        announce: Callable[[str], Coroutine[Any, Any, None]],
    ) -> None:
        self._url = url
        self._worker = worker
        self._queues = dict(queues)
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="pi-jobs-queue")
        self.perform = perform
        self.announce = announce

    async def launch(self) -> None:
        """Joins the database's workers.

        Raises:
            PiUsageError: when this process has a job engine already, or the database cannot be used.
        """
        global _launched
        self.check_alone()
        _launched = self
        self._loop = asyncio.get_running_loop()
        # In a thread, here and below: on a loop's own thread DBOS takes the loop and its thread pool for its own.
        try:
            await asyncio.to_thread(self._launch)
        except Exception as error:
            await self.stop()
            reason = f"{type(error).__name__}: {error}"
            raise PiUsageError(
                f"the job queue could not be started: {reason}. Check --database-url, or --data-dir"
            ) from error
        except BaseException:
            await self.stop()
            raise

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
                # We send no notifications; how often it looks for them is how long it takes to stop.
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
        """What `function` returns, from a thread of our own.

        DBOS waits for a database that is away, and up to a minute longer; we do not.

        Raises:
            QueueAway: when it failed, or took too long; then it may be done nevertheless, later.
        """
        called = asyncio.get_running_loop().run_in_executor(self._threads, function)
        try:
            return await asyncio.wait_for(called, _PATIENCE_SECONDS)
        except TimeoutError:
            raise QueueAway(f"no answer within {_PATIENCE_SECONDS:g} s") from None
        except Exception as error:
            raise QueueAway(f"{type(error).__name__}: {error}") from error

    async def schedule(self, job_id: str, life: int, queue: str, *, taken_over: bool = False) -> None:
        """Puts a life on its queue, or on the one for what dead workers left; a second time changes nothing."""
        name = _taken_over(queue) if taken_over else queue

        def enqueue() -> None:
            with SetWorkflowID(workflow_id(job_id, life)):
                DBOS.enqueue_workflow(name, _life_of_a_job, job_id, life)

        await self._call(enqueue)

    async def schedule_announcement(self, job_id: str) -> None:
        """Has a job's end told to its webhook; a second time changes nothing."""

        def enqueue() -> None:
            with SetWorkflowID(announcement_id(job_id)):
                DBOS.enqueue_workflow(ANNOUNCEMENTS, _announcement, job_id)

        await self._call(enqueue)

    async def give_up(self, job_id: str, life: int) -> None:
        """Takes a life off its queue, and off the count of those at work."""
        await self._call(lambda: DBOS.cancel_workflow(workflow_id(job_id, life)))

    async def revive(self, workflow: str, queue: str) -> None:
        """Puts a workflow whose process died on its queue again."""
        await self._call(lambda: DBOS.resume_workflow(workflow, queue_name=queue))

    async def states(self, workflows: Iterable[str]) -> dict[str, WorkflowState]:
        """What DBOS says of each of these workflows; those it does not know are left out."""
        ids = list(workflows)
        states: dict[str, WorkflowState] = {}
        for first in range(0, len(ids), _ASKED_AT_A_TIME):
            some = ids[first : first + _ASKED_AT_A_TIME]
            states.update(await self._call(partial(_states, some)))
        return states

    async def forget(self, job_id: str, lives: int) -> None:
        """Removes what DBOS keeps of a job."""
        ids = [workflow_id(job_id, life) for life in range(1, lives + 1)] + [announcement_id(job_id)]
        await self._call(lambda: DBOS.delete_workflows(ids))

    async def stop(self) -> None:
        """Leaves the database's workers; what was at work here is left to the others."""
        global _launched
        if _launched is self:
            await asyncio.to_thread(DBOS.destroy)
            _launched = None
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def on_own_loop(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` on the loop that launched, awaited from the loop of DBOS."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


def _register(queue: str, at_a_time: int, every: float) -> None:
    DBOS.register_queue(queue, worker_concurrency=at_a_time, polling_interval_sec=every, on_conflict="always_update")


def _taken_over(queue: str) -> str:
    return f"{queue}#taken-over"


def _states(ids: list[str]) -> dict[str, WorkflowState]:
    found = DBOS.list_workflows(workflow_ids=ids, load_input=False, load_output=False)
    return {each.workflow_id: WorkflowState(str(each.status), each.executor_id) for each in found}


def workflow_id(job_id: str, life: int) -> str:
    """What DBOS calls one life of a job."""
    return f"{job_id}:{life}"


def announcement_id(job_id: str) -> str:
    """What DBOS calls the delivery of a job's webhook."""
    return f"{job_id}:webhook"


def _current() -> Durable:
    if _launched is None:
        raise asyncio.CancelledError("the job engine stopped")
    return _launched


@DBOS.workflow(name="pi_life_of_a_job")
async def _life_of_a_job(job_id: str, life: int) -> None:
    durable = _current()
    await durable.on_own_loop(durable.perform(job_id, life))


@DBOS.workflow(name="pi_announcement")
async def _announcement(job_id: str) -> None:
    durable = _current()
    await durable.on_own_loop(durable.announce(job_id))
