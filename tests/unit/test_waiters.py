"""The tasks of a process that wait for its doorbell."""

from __future__ import annotations

import asyncio
import os

from shardq.drivers import SharedStorage
from shardq.drivers.shared.waiters import ears_of
from tests.faults.kit.points import Child
from tests.support.drivers import MIB


async def test_a_forked_child_wakes_no_coroutine_of_its_parent(name: str) -> None:
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


async def test_a_bell_that_rings_between_two_sleeps_is_not_missed(name: str) -> None:
    storage = SharedStorage.create(name, MIB)
    try:
        since = storage.ears.ready()
        with storage.ears.listening():
            pass
        storage.store.doorbell.ring(storage.store.slot)
        await asyncio.sleep(0)
        with storage.ears.listening(since=since) as heard:
            await asyncio.wait_for(heard, 10)
    finally:
        storage.destroy()


async def test_a_task_is_heard_when_another_one_has_stopped_listening(name: str) -> None:
    storage = SharedStorage.create(name, MIB)
    try:
        with storage.ears.listening() as heard:
            with storage.ears.listening(deaths=True):
                pass
            for _ in range(3):
                await asyncio.sleep(0)
            storage.store.doorbell.ring(storage.store.slot)
            await asyncio.wait_for(heard, 10)
    finally:
        storage.destroy()


async def test_the_descriptors_of_a_closed_storage_are_free_for_others_at_once(name: str) -> None:
    storage, loop = SharedStorage.create(name, MIB), asyncio.get_running_loop()
    with storage.ears.listening(deaths=True):
        bells = [storage.store.doorbell.open(), storage.store.waiting.deaths()]
    storage.destroy()

    reader, writer = os.pipe()
    arrived = asyncio.Event()
    try:
        for descriptor in bells:
            os.dup2(reader, descriptor)
            loop.add_reader(descriptor, arrived.set)
        for _ in range(3):
            await asyncio.sleep(0)
        os.write(writer, b"!")
        await asyncio.wait_for(arrived.wait(), 10)
        assert all(loop.remove_reader(descriptor) for descriptor in bells)
    finally:
        for descriptor in (reader, writer, *bells):
            os.close(descriptor)
