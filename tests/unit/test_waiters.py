"""The tasks of a process that wait for its doorbell."""

from __future__ import annotations

import asyncio
import os
import select

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


async def test_rings_are_taken_in_before_the_next_look_and_no_ring_after_it_is_lost(name: str) -> None:
    storage, loop = SharedStorage.create(name, MIB), asyncio.get_running_loop()
    ears, doorbell = storage.ears, storage.store.doorbell
    try:
        ears.ready()
        doorbell.ring(storage.store.slot)
        with ears.listening() as heard:
            ears._heard(loop)
            assert heard.done()
        assert rung(storage), "the request that rang would wait for this"

        since = ears.ready()
        assert not rung(storage)
        doorbell.ring(storage.store.slot)
        assert ears.ready() == since
        assert rung(storage)
    finally:
        storage.destroy()


async def test_rings_that_nobody_takes_in_are_taken_in_when_the_bell_is_heard_again(name: str) -> None:
    storage, loop = SharedStorage.create(name, MIB), asyncio.get_running_loop()
    try:
        storage.ears.ready()
        storage.store.doorbell.ring(storage.store.slot)
        storage.ears._heard(loop)
        with storage.ears.listening():  # before it looks
            assert not rung(storage)
        storage.store.doorbell.ring(storage.store.slot)
        storage.ears._heard(loop)
        assert rung(storage)
        storage.ears._heard(loop)
        assert not rung(storage)
    finally:
        storage.destroy()


async def test_a_look_that_found_nothing_is_followed_by_one_after_the_rings_are_taken_in(name: str) -> None:
    storage, loop = SharedStorage.create(name, MIB), asyncio.get_running_loop()
    looks = list[bool]()
    try:
        since = storage.ears.ready()
        storage.store.doorbell.ring(storage.store.slot)
        heard = storage.ears.listen(since=since, look=lambda: looks.append(rung(storage)))
        storage.ears._heard(loop)
        storage.ears.end(heard)
        assert looks == [True]

        again = storage.ears.listen(since=since)
        assert again.done(), "a ring may have come since, which would be taken in with the one before"
        storage.ears.end(again)
    finally:
        storage.destroy()


def rung(storage: SharedStorage) -> bool:
    return bool(select.select([storage.store.doorbell.open()], [], [], 0)[0])


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
