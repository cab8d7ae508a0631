"""The tasks that wait in a process are not known to the processes forked from it."""

from __future__ import annotations

import asyncio

from shardq.drivers import SharedStorage
from shardq.drivers.shared.waiters import ears_of
from tests.faults.kit.points import Child
from tests.support.drivers import MIB


async def test_a_forked_child_wakes_nobody_of_its_parent(name: str) -> None:
    storage = SharedStorage.create(name, MIB)
    ears = ears_of(storage.store)
    try:
        with ears.listening() as heard, ears._lock:
            # The lock is held at the fork, as it may be by another thread; the child has one of its own.
            assert Child(lambda: ears.wake_all()).result() is None
            await asyncio.sleep(0)
            assert not heard.done()
        with ears.listening() as heard:
            ears.wake_all()
            assert heard.done()
    finally:
        await storage.close()
