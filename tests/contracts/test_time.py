"""What waits for its time: S24 to S26, S28 and S32 of `shardq.protocols.Storage`, on every driver and both loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from shardq.errors import MessageTooLarge, ScheduleError
from shardq.model import When, split_key
from shardq.protocols import Lock, Served, Storage
from tests.conftest import OpenBackend
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
    everything,
    fill,
    numbered,
)
from tests.support import hands
from tests.support.clock import now_us
from tests.support.drivers import MIB
from tests.support.tasks import LIMIT_S, NEVER_S, finished, in_thread, suspended

SECOND_US = 1_000_000
HOUR_S = 3600.0


async def due_in(storage: Storage, seconds: float) -> When:
    return When(await now_us(storage) + round(seconds * SECOND_US))


async def all_come(storage: Storage) -> None:
    """Return once nothing waits for its time any more."""
    async with asyncio.timeout(LIMIT_S):
        while (await storage.backlog()).deferred:
            await storage.wait(nothing, NEVER_S)


#: What a worker serves that has no handler.
nothing: Served = frozenset()


async def came(storage: Storage, act: Callable[[int], Awaitable[object]]) -> None:
    """Have `act` defer messages to about a time, given in Unix microseconds, and return once they came.

    It has to be done before that time; where it is not, all goes away and it begins anew with more time.
    """
    ahead_us = SECOND_US // 50
    while True:
        base_us = await now_us(storage) + ahead_us
        await act(base_us)
        in_time = await now_us(storage) < base_us
        await all_come(storage)
        if in_time:
            return
        for pipe in await storage.pipes():
            await storage.remove(pipe, *await contents(storage, pipe))
        ahead_us *= 4


# S24


async def test_S24_messages_come_in_the_order_of_their_times(storage: Storage) -> None:
    async def defer(base_us: int) -> None:
        for name, after_us in ((b"third", 30), (b"first", 10), (b"fourth", 40), (b"second", 20)):
            assert await storage.append([(PIPE, [name])], when=When(base_us + after_us)) == 1

    await came(storage, defer)

    assert await contents(storage, PIPE) == [b"first", b"second", b"third", b"fourth"]


async def test_S24_equal_times_come_in_the_order_of_acceptance(storage: Storage) -> None:
    async def defer(base_us: int) -> None:
        start = 0
        for size in (3, 1, 500, 2):
            assert await storage.append([(PIPE, numbered(size, start))], when=When(base_us)) == size
            start += size

    await came(storage, defer)

    assert await contents(storage, PIPE) == numbered(506)


async def test_S24_many_calls_with_mixed_times_come_in_order(storage: Storage) -> None:
    times = [(number * 7919) % 40 for number in range(300)]

    async def defer(base_us: int) -> None:
        for number, after_us in enumerate(times):
            await storage.append([(PIPE, [b"%d:%d" % (after_us, number)])], when=When(base_us + after_us))

    await came(storage, defer)

    in_order = sorted(range(300), key=lambda number: (times[number], number))
    assert await contents(storage, PIPE) == [b"%d:%d" % (times[number], number) for number in in_order]


async def test_S24_each_tube_has_its_own(storage: Storage, lock: Lock) -> None:
    pipes = [PIPE, f"{KEY}/1", OTHER]

    async def defer(base_us: int) -> None:
        for place, pipe in enumerate(pipes):
            await storage.append([(pipe, [b"late"])], when=When(base_us + 100 - place))
            await storage.append([(pipe, [b"early"])], when=When(base_us + place))

    await came(storage, defer)

    assert sorted(await storage.pipes()) == sorted(pipes)
    for pipe in pipes:
        assert await contents(storage, pipe) == [b"early", b"late"]
    assert (await hands.take(storage, [f"{KEY}/1", PIPE], 9, await claimed(lock))).pipe == f"{KEY}/1"


async def test_S24_equal_messages_are_all_kept(storage: Storage) -> None:
    async def defer(base_us: int) -> None:
        assert await storage.append([(PIPE, [b"x", b"x"])], when=When(base_us)) == 2
        assert await storage.append([(PIPE, [b"x"])], when=When(base_us + 1)) == 1

    await came(storage, defer)

    assert await contents(storage, PIPE) == [b"x", b"x", b"x"]


async def test_S24_messages_come_behind_what_is_in_the_tube(storage: Storage) -> None:
    async def defer(base_us: int) -> None:
        await storage.append([(PIPE, [b"late"])], when=When(base_us))
        await storage.append([(PIPE, [b"before"])])

    await came(storage, defer)
    await storage.append([(PIPE, [b"after"])])

    assert await contents(storage, PIPE) == [b"before", b"late", b"after"]
    batch = await storage.range(PIPE, 9)
    assert list(batch.numbers) == sorted(set(batch.numbers))


async def test_S24_what_is_past_already_comes_at_the_first_chance(storage: Storage) -> None:
    assert await storage.append([(PIPE, [b"past"])], when=When(1)) == 1
    assert await storage.append([(PIPE, [b"past too"])], when=await due_in(storage, -HOUR_S)) == 1

    assert await storage.promote() is None

    assert await contents(storage, PIPE) == [b"past", b"past too"]


async def test_S24_large_and_empty_messages_come_whole(storage: Storage) -> None:
    large = bytes(range(256)) * 1200
    when = await due_in(storage, -1)
    await storage.append([(PIPE, [b"", large, b""])], when=when)
    await storage.append([(PIPE, numbered(10_000))], when=when)

    await storage.promote()

    assert await contents(storage, PIPE) == [b"", large, b"", *numbered(10_000)]


async def test_S24_nothing_at_a_time_is_nothing(storage: Storage) -> None:
    assert await storage.append([(PIPE, [])], when=await due_in(storage, -1)) == 0

    assert await storage.promote() is None
    assert (await storage.backlog()).deferred == 0


@pytest.mark.requires("bounded")
async def test_S24_a_call_without_room_leaves_nothing(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    await fill(storage)
    before = await storage.backlog()

    assert await storage.append([(BESIDE, [b"small", *[CHUNK] * 4])], when=await due_in(storage, -1)) is None

    assert await storage.backlog() == before
    assert await storage.promote() is None
    assert await storage.length(BESIDE) == 0


@pytest.mark.requires("bounded")
async def test_S24_what_waits_takes_room_and_needs_none_when_it_is_due(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    when = await due_in(storage, -1)
    taken = 0
    while await storage.append([(PIPE, [CHUNK])], when=when):
        taken += 1
        assert taken <= 16, "never full"
    assert taken
    assert await storage.append([(BESIDE, [CHUNK])]) is None

    assert await storage.promote() is None

    assert (await drain(storage, PIPE, token)).messages == [CHUNK] * taken
    assert await storage.append([(BESIDE, [CHUNK])]) == 1


@pytest.mark.requires("bounded")
async def test_S24_what_can_never_fit_is_too_large(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage

    with pytest.raises(MessageTooLarge):
        await storage.append([(PIPE, [bytes(2 * MIB)])], when=await due_in(storage, HOUR_S))

    assert (await storage.backlog()).deferred == 0


@pytest.mark.requires("bounded")
async def test_S24_with_room_it_waits_for_its_time(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await fill(storage)
    when = await due_in(storage, HOUR_S)
    assert await storage.append_when_room([(BESIDE, [CHUNK])], 0, when=when) is None
    waiting = await suspended(storage.append_when_room([(BESIDE, [CHUNK])], when=when))

    await in_thread(lambda: drain(storage, PIPE, token))

    assert await finished(waiting) == 1
    assert (await storage.backlog()).deferred == 1


@pytest.mark.requires("bounded")
async def test_S24_what_follows_up_later_has_the_room_kept_for_it(open_backend: OpenBackend) -> None:
    """A follow-up goes where others find no room, at a time as well as at once."""
    storage = open_backend(1 * MIB).storage
    await fill(storage)
    when = await due_in(storage, HOUR_S)
    small = bytes(1024)
    while await storage.append([(PIPE, [small])], when=when):
        continue

    assert await storage.append([(PIPE, [small])], when=when, follow_up=True) == 1


async def test_S24_a_span_is_counted_by_the_clock_of_the_storage(storage: Storage) -> None:
    span_us = 3600 * SECOND_US
    before_us = await now_us(storage)
    assert await storage.append([(PIPE, [b"later"])], when=When(after_us=span_us)) == 1
    after_us = await now_us(storage)

    due_us = await storage.promote()

    assert due_us is not None
    assert before_us + span_us <= due_us <= after_us + span_us


async def test_S24_a_span_of_nothing_is_over_at_once(storage: Storage) -> None:
    await storage.append([(PIPE, [b"now"])], when=When(after_us=0))

    assert await storage.wait(everything, 0) == KEY


@pytest.mark.requires("bounded")
async def test_S24_a_span_begins_before_the_wait_for_room(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    span_us = 3600 * SECOND_US
    assert await storage.append([(PIPE, [CHUNK] * 4)]) == 4
    before_us = await now_us(storage)
    await fill(storage)
    waiting = await suspended(storage.append_when_room([(BESIDE, [CHUNK])], when=When(after_us=span_us)))
    called = time.monotonic()

    await asyncio.to_thread(time.sleep, 0.01)  # not to wait for anything: time has to pass
    await drain(storage, PIPE, token)
    assert await finished(waiting) == 1

    due_us = await storage.promote()
    assert due_us is not None
    begun_us, passed_us = due_us - span_us, (time.monotonic() - called) * SECOND_US
    assert before_us <= begun_us <= await now_us(storage) - passed_us + SECOND_US // 1000
    assert passed_us >= SECOND_US // 100


@pytest.mark.parametrize("when", [When(1 << 62), When(after_us=1 << 60)], ids=["at", "after"])
async def test_S24_a_time_that_no_calendar_has_is_refused(storage: Storage, when: When) -> None:
    with pytest.raises(ScheduleError):
        await storage.append([(PIPE, [b"never"])], when=when)

    assert await storage.promote() is None
    assert (await storage.backlog()).deferred == 0


# S25


async def test_S25_what_waits_is_in_no_tube(storage: Storage) -> None:
    assert await storage.append([(PIPE, numbered(3))], when=await due_in(storage, HOUR_S)) == 3

    assert await storage.pipes() == []
    assert await storage.length(PIPE) == 0
    assert (await storage.range(PIPE, 10)).count == 0
    assert await storage.wait(everything, 0) is None
    backlog = await storage.backlog()
    assert (backlog.queued, backlog.deferred, backlog.recurrent, backlog.dead) == (0, 3, 0, 0)


async def test_S25_its_thread_can_be_claimed_and_drained(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"later"])], when=await due_in(storage, HOUR_S))
    token = await claimed(lock)
    assert (await hands.take(storage, [PIPE], 9, token)).count == 0
    await storage.append([(PIPE, [b"now"])])

    assert (await drain(storage, PIPE, token)).messages == [b"now"]
    assert await storage.wait(everything, 0, bound=KEY) is None
    assert await lock.release(KEY)

    backlog = await storage.backlog()
    assert (backlog.queued, backlog.deferred) == (0, 1)


async def test_S25_what_has_come_is_queued(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2))], when=await due_in(storage, -1))
    await storage.append([(PIPE, [b"later"])], when=await due_in(storage, HOUR_S))
    await storage.promote()
    backlog = await storage.backlog()
    assert (backlog.queued, backlog.deferred) == (2, 1)

    await drain(storage, PIPE, await claimed(lock))

    backlog = await storage.backlog()
    assert (backlog.queued, backlog.deferred) == (0, 1)


async def test_S25_numbers_go_on_when_a_thread_was_empty_meanwhile(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"now"])])
    through = (await drain(storage, PIPE, await claimed(lock))).through
    await storage.append([(PIPE, [b"later"])], when=await due_in(storage, NEVER_S))
    await lock.release(KEY)

    await all_come(storage)

    assert (await storage.range(PIPE, 1)).sequence >= through


# S26


async def test_S26_promote_says_when_the_next_is_due(storage: Storage) -> None:
    assert await storage.promote() is None
    soon, later = await due_in(storage, HOUR_S), await due_in(storage, 2 * HOUR_S)
    await storage.append([(PIPE, [b"later"])], when=later)
    assert await storage.promote() == later.due_us
    await storage.append([(OTHER, [b"soon"])], when=soon)
    await storage.append([(OTHER, [b"past"])], when=await due_in(storage, -1))

    assert await storage.promote() == soon.due_us

    assert await storage.pipes() == [OTHER]
    await storage.remove(OTHER, b"soon")
    assert await storage.promote() == later.due_us
    await storage.remove(PIPE, b"later")
    assert await storage.promote() is None


async def test_S26_wait_moves_what_is_due(storage: Storage) -> None:
    await storage.append([(PIPE, [b"past"])], when=await due_in(storage, -1))

    assert await storage.wait(everything, 0) == KEY

    assert await contents(storage, PIPE) == [b"past"]


async def test_S26_wait_returns_at_the_due_time(storage: Storage) -> None:
    when = await due_in(storage, NEVER_S)
    await storage.append([(PIPE, [b"soon"])], when=when)

    assert await storage.wait(everything, LIMIT_S) == KEY

    assert await now_us(storage) >= when.due_us


async def test_S26_a_sleeping_wait_reckons_with_an_earlier_time(storage: Storage) -> None:
    await storage.append([(OTHER, [b"later"])], when=await due_in(storage, HOUR_S))
    waiting = await suspended(storage.wait(everything))

    await storage.append([(PIPE, [b"soon"])], when=await due_in(storage, NEVER_S))

    assert await finished(waiting) == KEY


async def test_S26_a_sleeping_wait_takes_what_is_past_already(storage: Storage) -> None:
    waiting = await suspended(storage.wait(everything))

    await storage.append([(PIPE, [b"past"])], when=await due_in(storage, -1))

    assert await finished(waiting) == KEY


async def test_S26_a_wait_in_another_thread_reckons_with_an_earlier_time(storage: Storage) -> None:
    waiting = await suspended(storage.wait(everything))

    async def append() -> int | None:
        return await storage.append([(PIPE, [b"soon"])], when=await due_in(storage, NEVER_S))

    assert await in_thread(append) == 1

    assert await finished(waiting) == KEY


async def test_S26_wait_sleeps_on_where_its_caller_does_not_serve_what_is_due(storage: Storage) -> None:
    await storage.append([(PIPE, [b"soon"])], when=await due_in(storage, NEVER_S / 2))
    waiting = await suspended(storage.wait(frozenset({split_key(OTHER_KEY)[0]})))
    assert await storage.wait(frozenset({split_key(KEY)[0]}), LIMIT_S) == KEY
    assert not waiting.done()

    await storage.append([(OTHER, [b"now"])])

    assert await finished(waiting) == OTHER_KEY


async def test_S26_wait_returns_none_before_what_is_due_later(storage: Storage) -> None:
    await storage.append([(PIPE, [b"later"])], when=await due_in(storage, HOUR_S))
    started = time.monotonic()

    assert await storage.wait(everything, NEVER_S) is None

    assert time.monotonic() - started >= NEVER_S * 0.9


async def test_S26_a_bound_wait_returns_its_thread_at_the_due_time(storage: Storage, lock: Lock) -> None:
    await claimed(lock)
    await storage.append([(PIPE, [b"soon"])], when=await due_in(storage, NEVER_S))

    assert await storage.wait(everything, LIMIT_S, bound=KEY) == KEY


async def test_S26_two_waiters_share_what_is_due_at_once(storage: Storage) -> None:
    when = await due_in(storage, NEVER_S)
    waiting = [await suspended(storage.wait(everything)) for _ in range(2)]

    await storage.append([(PIPE, [b"here"])], when=when)
    await storage.append([(OTHER, [b"there"])], when=when)

    one, other = [await finished(task) for task in waiting]
    if one == other and await is_divided(storage):
        assert await storage.claim(one)
        other = await storage.wait(everything, LIMIT_S)
    assert {one, other} == {KEY, OTHER_KEY}


async def is_divided(storage: Storage) -> bool:
    """Whether what is due is moved in several partitions one after another."""
    server = getattr(storage, "server", None)
    return server is not None and (await server.layout()).partitions > 1


async def test_S26_several_who_promote_move_each_message_once(storage: Storage) -> None:
    base_us = (await due_in(storage, NEVER_S)).due_us
    for number in range(200):
        await storage.append([(PIPE, [b"%d" % number])], when=When(base_us + number))

    await asyncio.gather(*(in_thread(lambda: all_come(storage)) for _ in range(3)))

    assert sorted(await contents(storage, PIPE)) == sorted(b"%d" % number for number in range(200))


# S28


async def test_S28_remove_takes_out_what_waits(storage: Storage) -> None:
    async def act(base_us: int) -> None:
        when = When(base_us)
        await storage.append([(PIPE, [b"a", b"x", b"b", b"x"])], when=when)
        await storage.append([(PIPE, [b"x"])], when=when)
        await storage.append([(PIPE, [b"c", b"y"])], when=when)
        await storage.append([(OTHER, [b"x"])], when=when)
        assert await storage.remove(PIPE, b"x", b"y", b"not there") == 4
        assert await storage.remove(PIPE, b"x") == 0

    await came(storage, act)

    assert await contents(storage, PIPE) == [b"a", b"b", b"c"]
    assert await contents(storage, OTHER) == [b"x"]


async def test_S28_what_is_removed_is_deferred_no_more(storage: Storage) -> None:
    await storage.append([(PIPE, [b"a", b"x", b"x"])], when=await due_in(storage, HOUR_S))
    assert await storage.remove(PIPE, b"x") == 2

    backlog = await storage.backlog()

    assert (backlog.queued, backlog.deferred) == (0, 1)


async def test_S28_remove_counts_those_of_both_kinds(storage: Storage) -> None:
    await storage.append([(PIPE, [b"x", b"a"])])
    await storage.append([(PIPE, [b"x", b"b"])], when=await due_in(storage, HOUR_S))

    assert await storage.remove(PIPE, b"x") == 2

    backlog = await storage.backlog()
    assert (backlog.queued, backlog.deferred) == (1, 1)


async def test_S28_what_waits_is_removed_one_by_one(storage: Storage) -> None:
    async def act(base_us: int) -> None:
        await storage.append([(PIPE, numbered(50))], when=When(base_us + 200))
        for number in range(50, 100):
            await storage.append([(PIPE, numbered(1, number))], when=When(base_us + 200 - number))
        for number in range(0, 100, 2):
            assert await storage.remove(PIPE, b"message-%d" % number) == 1

    await came(storage, act)

    late = [b"message-%d" % number for number in range(99, 50, -2)]
    assert await contents(storage, PIPE) == late + [b"message-%d" % number for number in range(1, 50, 2)]


@pytest.mark.requires("bounded")
async def test_S28_what_is_removed_makes_room(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    when = await due_in(storage, HOUR_S)
    while await storage.append([(PIPE, [CHUNK])], when=when):
        continue
    waiting = await suspended(storage.append_when_room([(BESIDE, [CHUNK] * 4)]))

    assert await storage.remove(PIPE, CHUNK)

    assert await finished(waiting) == 4


# S32


async def test_S32_quiet_with_deferred_comes_with_the_last_of_them(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"much later"])], when=await due_in(storage, HOUR_S))
    assert await storage.wait_for_quiet(0)
    assert not await storage.wait_for_quiet(0, deferred=True)
    assert not await storage.wait_for_quiet(NEVER_S, deferred=True)
    await storage.append([(PIPE, [b"later"])], when=await due_in(storage, NEVER_S))
    await storage.remove(PIPE, b"much later")
    waiting = await suspended(storage.wait_for_quiet(deferred=True))
    await all_come(storage)
    assert not await storage.wait_for_quiet(0, deferred=True)
    await asyncio.wait({waiting}, timeout=0)
    assert not waiting.done()

    await drain(storage, PIPE, await claimed(lock))

    assert await finished(waiting)


async def test_S32_quiet_with_deferred_comes_with_the_last_removal(storage: Storage) -> None:
    await storage.append([(PIPE, [b"x", b"y"])], when=await due_in(storage, HOUR_S))
    waiting = await suspended(storage.wait_for_quiet(deferred=True))
    await storage.remove(PIPE, b"x")
    await asyncio.wait({waiting}, timeout=0)
    assert not waiting.done()

    await storage.remove(PIPE, b"y")

    assert await finished(waiting)


async def test_S32_what_is_queued_is_waited_for_too(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"now"])])
    await storage.append([(OTHER, [b"later"])], when=await due_in(storage, HOUR_S))
    waiting = await suspended(storage.wait_for_quiet(deferred=True))
    plainly = await suspended(storage.wait_for_quiet())

    await drain(storage, PIPE, await claimed(lock))
    assert await finished(plainly)
    assert not waiting.done()
    await storage.remove(OTHER, b"later")

    assert await finished(waiting)


async def test_S32_schedules_are_not_waited_for(storage: Storage) -> None:
    when = await due_in(storage, HOUR_S)
    await storage.append([(PIPE, [b"again"])], when=When(when.due_us, "every 60"))

    assert await storage.wait_for_quiet(0, deferred=True)
    assert await storage.wait_for_quiet(0)
