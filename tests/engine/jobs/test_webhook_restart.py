"""A webhook that was being told when its engine stopped."""

from __future__ import annotations

from pathlib import Path

from hook_receiver import allowing, receiving
from tiny_jobs import Tiny, ended, running, start


async def test_delivery_that_stopped_with_its_engine_is_taken_up_by_the_next(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.statuses["/hook"] = [503] * 50
        async with running(Tiny(), allowing(tmp_path, receiver)) as (client, _):
            job = await start(client, batches=0, webhook_url=f"{receiver.url}/hook")
            await receiver.wait_for("/hook")
        receiver.statuses.clear()
        async with running(Tiny(), allowing(tmp_path, receiver)) as (client, _):
            await receiver.wait_for("/hook", 2)
            assert (await ended(client, job))["state"] == "DONE"
