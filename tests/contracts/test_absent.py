"""Messages that have no equal: S27 of `shardq.protocols.Storage`, on every driver and both event loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from shardq.model import Hand, When, dead_pipe
from shardq.protocols import Lock, Storage
from tests.conftest import OpenBackend
from tests.contracts.kit.peer import peer
from tests.contracts.test_storage import (
    BESIDE,
    CHUNK,
    KEY,
    OTHER,
    OTHER_KEY,
    PIPE,
    claimed,
    contents,
    drain,
    fill,
    numbered,
)
from tests.support import hands
from tests.support.clock import now_us
from tests.support.drivers import MIB, Backend, Driver
from tests.support.tasks import finished, in_thread, suspended

SECOND_US = 1_000_000
GRAVE = dead_pipe("app.jobs/Resize")


async def add(storage: Storage, *messages: bytes, pipe: str = PIPE) -> int | None:
    return await storage.append([(pipe, messages)], absent=True)


async def later(storage: Storage, seconds: float = 3600) -> When:
    return When(await now_us(storage) + round(seconds * SECOND_US))


async def test_S27_an_equal_in_the_tube_keeps_a_message_out(storage: Storage) -> None:
    assert await add(storage, b"a", b"b") == 2

    assert await add(storage, b"b", b"c", b"a") == 1
    assert await add(storage, b"a", b"b", b"c") == 0

    assert await contents(storage, PIPE) == [b"a", b"b", b"c"]


async def test_S27_one_call_takes_an_equal_once_in_its_first_place(storage: Storage) -> None:
    assert await add(storage, b"b", b"a", b"b", b"", b"a", b"c", b"") == 4

    assert await contents(storage, PIPE) == [b"b", b"a", b"", b"c"]


async def test_S27_only_whole_messages_are_equal(storage: Storage) -> None:
    await add(storage, b"ab", b"cd")

    assert await add(storage, b"a", b"bc", b"abcd", b"", b"ab\0") == 5


async def test_S27_what_is_handed_out_is_there(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"a", b"b"])])
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 1, token)

    assert await add(storage, b"a", b"b") == 0

    await hands.pop(storage, PIPE, batch.through, token)
    assert await add(storage, b"a", b"b") == 1
    assert await contents(storage, PIPE) == [b"b", b"a"]


@pytest.mark.parametrize("indexed", [False, True], ids=["first asked afterwards", "asked before"])
async def test_S27_what_was_acknowledged_is_absent(storage: Storage, lock: Lock, indexed: bool) -> None:
    await storage.append([(PIPE, numbered(10))])
    if indexed:
        assert await add(storage, b"message-0") == 0
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 5, token)
    await hands.pop(storage, PIPE, batch.through_first(3), token)

    assert await add(storage, *numbered(10)) == 3

    assert await contents(storage, PIPE) == numbered(7, 3) + numbered(3)


async def test_S27_one_of_two_equals_that_leaves_leaves_the_other(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"x", b"x"])])
    token = await claimed(lock)
    for there in (0, 0, 1):
        assert await add(storage, b"x") == there
        batch = await hands.take(storage, [PIPE], 1, token)
        await hands.pop(storage, PIPE, batch.through, token)


async def test_S27_what_was_removed_is_absent(storage: Storage) -> None:
    await add(storage, b"a", b"x", b"b")
    await storage.append([(PIPE, [b"x"])])
    assert await storage.remove(PIPE, b"x") == 2

    assert await add(storage, b"a", b"x", b"b", b"x") == 1

    assert await contents(storage, PIPE) == [b"a", b"b", b"x"]


async def test_S27_what_was_buried_is_absent_until_it_is_put_back(storage: Storage, lock: Lock) -> None:
    await add(storage, b"a", b"b")
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 1, token)
    assert await hands.bury(storage, PIPE, batch.sequence, token, GRAVE, b"letter")
    assert await add(storage, b"b", b"a") == 1
    await drain(storage, PIPE, token)
    number = (await storage.range(GRAVE, 1)).sequence

    assert await storage.requeue(GRAVE, number, PIPE, b"a")

    assert await add(storage, b"a", b"b") == 1
    assert await contents(storage, PIPE) == [b"a", b"b"]


async def test_S27_what_failed_is_there(storage: Storage, lock: Lock) -> None:
    await add(storage, b"a", b"b", b"c")
    token = await claimed(lock)
    for size in (3, 1, 1):
        await hands.take(storage, [PIPE], size, token)
        await hands.fail(storage, PIPE, token)
        assert await add(storage, b"a", b"b", b"c") == 0

    await lock.release(KEY)

    assert await add(storage, b"a", b"b", b"c", b"d") == 1
    assert await contents(storage, PIPE) == [b"a", b"b", b"c", b"d"]


async def test_S27_what_waits_for_its_time_is_there(storage: Storage) -> None:
    assert await storage.append([(PIPE, [b"a", b"a", b"b"])], when=await later(storage), absent=True) == 2
    assert await storage.append([(PIPE, [b"b", b"c"])], when=await later(storage, 1), absent=True) == 1

    assert await add(storage, b"a", b"b", b"c", b"d") == 1
    assert await storage.append([(PIPE, [b"d", b"e"])], when=await later(storage), absent=True) == 1

    await storage.remove(PIPE, b"a")
    assert await add(storage, b"a") == 1
    backlog = await storage.backlog()
    assert (backlog.queued, backlog.deferred) == (2, 3)


async def test_S27_what_has_come_is_still_there(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"a"])], when=await later(storage, -1), absent=True)
    await storage.promote()
    assert await add(storage, b"a") == 0
    assert await storage.append([(PIPE, [b"a"])], when=await later(storage), absent=True) == 0

    await drain(storage, PIPE, await claimed(lock))

    assert await add(storage, b"a") == 1


#: Together a record large enough to become the tube's as it stands, with the messages that left it before.
LARGE = [name * 600 for name in (b"a", b"b", b"c", b"d", b"e")]


async def test_S27_what_was_brought_early_is_there_when_the_rest_has_come(storage: Storage) -> None:
    await storage.append([(PIPE, LARGE)], when=await later(storage))
    ids = [its.id for its in await storage.deferrals.page(None, len(LARGE))]
    assert [await storage.deferrals.run(its_id) for its_id in ids] == [True] * len(LARGE)

    assert await add(storage, *LARGE) == 0

    assert await contents(storage, PIPE) == LARGE


async def test_S27_what_was_cancelled_and_added_again_is_there_when_the_rest_has_come(storage: Storage) -> None:
    await storage.append([(PIPE, LARGE)], when=await later(storage))
    first, *others = [its.id for its in await storage.deferrals.page(None, len(LARGE))]
    assert await storage.deferrals.cancel(first) == 1
    assert await storage.append([(PIPE, LARGE[:1])]) == 1
    assert [await storage.deferrals.run(its_id) for its_id in others] == [True] * len(others)

    assert await add(storage, *LARGE) == 0

    assert await storage.remove(PIPE, *LARGE) == len(LARGE)
    assert await add(storage, *LARGE) == len(LARGE)


async def test_S27_what_a_schedule_brought_is_there(storage: Storage) -> None:
    when = await later(storage, -1)
    await storage.append([(PIPE, [b"tick"])], when=When(when.due_us, "every 60"))
    await storage.promote()

    assert await add(storage, b"tick") == 0


async def test_S27_deferred_equals_without_absent_are_all_there(storage: Storage) -> None:
    await storage.append([(PIPE, [b"x", b"x"])], when=await later(storage, -1))
    await storage.append([(PIPE, [b"x"])], when=await later(storage))
    await storage.promote()
    await storage.remove(PIPE, b"x")

    assert (await storage.backlog()).deferred == 0
    assert await add(storage, b"x") == 1


async def test_S27_what_is_in_front_is_of_the_same_tube(storage: Storage, lock: Lock) -> None:
    await hands.put_in_front(storage, PIPE, b"a")
    await storage.append([(PIPE, [b"b"])])
    await storage.append([(PIPE, [b"c"])], when=await later(storage))

    assert await add(storage, b"a", b"b", b"c", b"d") == 1

    assert await contents(storage, PIPE) == [b"a", b"b", b"d"]
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 9, token)
    await storage.pop(Hand(KEY, token, batch), batch.count)
    assert await add(storage, b"a", b"b", b"d") == 1
    assert await contents(storage, PIPE) == [b"b", b"d", b"a"]


async def test_S27_other_priorities_and_threads_are_other_tubes(storage: Storage) -> None:
    for pipe in (PIPE, f"{KEY}/1", f"{KEY}/10", OTHER):
        assert await add(storage, b"a", pipe=pipe) == 1
        assert await add(storage, b"a", pipe=pipe) == 0


async def test_S27_plain_calls_before_and_after_are_seen(storage: Storage, lock: Lock) -> None:
    token = await claimed(lock)
    expected: list[bytes] = []
    for start in range(0, 400, 40):
        plain_ones = numbered(30, start)
        await storage.append([(PIPE, plain_ones)])
        assert await add(storage, *numbered(40, start)) == 10
        expected += numbered(40, start)
        taken = (await hands.take(storage, [PIPE], 15, token)).messages
        assert taken == expected[:15]
        batch = await storage.range(PIPE, 15)
        await hands.pop(storage, PIPE, batch.through, token)
        expected = expected[15:]
        assert await add(storage, *expected) == 0

    assert await contents(storage, PIPE) == expected


async def test_S27_a_plain_call_takes_equals_all_the_same(storage: Storage) -> None:
    await add(storage, b"a")

    assert await storage.append([(PIPE, [b"a", b"a"])]) == 2

    assert await contents(storage, PIPE) == [b"a", b"a", b"a"]


async def test_S27_it_begins_anew_when_a_thread_was_drained_and_let_go(storage: Storage, lock: Lock) -> None:
    for _ in range(4):
        assert await add(storage, b"a", b"b") == 2
        assert await add(storage, b"a", b"b") == 0
        assert (await drain(storage, PIPE, await claimed(lock))).messages == [b"a", b"b"]
        await lock.release(KEY)


async def test_S27_ten_thousand_and_the_same_again(storage: Storage) -> None:
    messages = numbered(10_000)
    assert await add(storage, *messages) == 10_000

    assert await add(storage, *messages) == 0
    assert await add(storage, *reversed(messages), *numbered(10, 10_000)) == 10

    assert await contents(storage, PIPE) == numbered(10_010)


async def test_S27_beside_ten_thousand_in_calls_of_one(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(10_000))])

    assert sum([await add(storage, message) or 0 for message in numbered(2_000, 9_000)]) == 1_000

    assert await contents(storage, PIPE) == numbered(11_000)


async def test_S27_of_several_threads_one_gets_it_in(storage: Storage) -> None:
    async def produce(start: int) -> int:
        ordered = numbered(300, start) + numbered(start)
        return sum([await add(storage, message) or 0 for message in ordered])

    taken = await asyncio.gather(*(in_thread(partial(produce, start)) for start in (0, 100, 200)))

    assert sum(taken) == 500
    assert len(set(await contents(storage, PIPE))) == await storage.length(PIPE)


@pytest.mark.requires("multiprocess")
async def test_S27_of_several_processes_one_gets_it_in(backend: Backend, driver: Driver, root: Path) -> None:
    count = 1000

    async def produce() -> int:
        async with peer(root, driver.name, backend.address, "append-absent", OTHER_KEY, PIPE, str(count)) as producer:
            return int(producer.said)

    producing = [asyncio.create_task(produce()) for _ in range(3)]
    await backend.storage.append([(OTHER, [b"go"])])

    assert sum([await finished(task) for task in producing]) == count
    assert sorted(await contents(backend.storage, PIPE)) == sorted(numbered(count))


@pytest.mark.requires("bounded")
async def test_S27_what_is_there_needs_no_room(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    await add(storage, b"a")
    await fill(storage)

    assert await add(storage, b"a", CHUNK) == 0
    assert await storage.append_when_room([(PIPE, [b"a"])], 0, absent=True) == 0


@pytest.mark.requires("bounded")
async def test_S27_a_call_without_room_leaves_nothing(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await fill(storage)
    large = [b"%d" % number + CHUNK for number in range(4)]
    assert await add(storage, *large, pipe=BESIDE) is None
    waiting = await suspended(storage.append_when_room([(BESIDE, large * 2)], absent=True))

    await drain(storage, PIPE, token)

    assert await finished(waiting) == 4
    assert await contents(storage, BESIDE) == large
    assert await add(storage, *large, pipe=BESIDE) == 0


async def test_S27_nothing_is_nothing(storage: Storage) -> None:
    assert await add(storage) == 0

    assert await storage.pipes() == []


async def test_S27_what_stays_in_hand_when_its_equals_are_removed_is_seen(storage: Storage, lock: Lock) -> None:
    token = await claimed(lock)
    await storage.append([(PIPE, [b"a", b"b"])])
    assert (await hands.take(storage, [PIPE], 1, token)).messages == [b"a"]
    assert await add(storage, b"x") == 1
    await storage.append([(PIPE, [b"a", b"c", b"a"])])
    assert await add(storage, b"x") == 0

    assert await storage.remove(PIPE, b"a", b"b") == 3

    assert await add(storage, b"a", b"b") == 1
    assert await contents(storage, PIPE) == [b"a", b"x", b"c", b"b"]
    await hands.pop(storage, PIPE, (await storage.range(PIPE, 1)).through, token)
    assert await add(storage, b"a", b"b") == 1
