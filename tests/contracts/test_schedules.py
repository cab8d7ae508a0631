"""What comes again and again: S29 and S30 of `shardq.protocols.Storage`, on every driver and both event loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shardq.errors import MessageTooLarge, ScheduleError
from shardq.model import When, split_key
from shardq.pages import each
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
    everything,
    fill,
)
from tests.support.clock import now_us
from tests.support.drivers import MIB, Backend, Driver
from tests.support.tasks import LIMIT_S, NEVER_S, finished, in_thread, suspended

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
MINUTELY, HOURLY = "every 60", "every 3600"


async def in_us(storage: Storage, span_us: int, schedule: str = MINUTELY) -> When:
    return When(await now_us(storage) + span_us, schedule)


async def recurrent(storage: Storage) -> int:
    return (await storage.backlog()).recurrent


# S29


async def test_S29_a_message_comes_at_its_time_and_is_due_again(storage: Storage, lock: Lock) -> None:
    when = await in_us(storage, -SECOND_US)
    assert await storage.append([(PIPE, [b"tick"])], when=when) == 1

    assert await storage.promote() == when.due_us + MINUTE_US

    assert (await drain(storage, PIPE, await claimed(lock))).messages == [b"tick"]
    assert await recurrent(storage) == 1
    assert await storage.promote() == when.due_us + MINUTE_US
    assert await storage.length(PIPE) == 0


async def test_S29_what_comes_is_queued_and_what_waits_is_recurrent(storage: Storage) -> None:
    await storage.append([(PIPE, [b"tick"])], when=await in_us(storage, MINUTE_US))
    before = await storage.backlog()
    assert (before.queued, before.deferred, before.recurrent) == (0, 0, 1)
    assert await storage.pipes() == []

    await storage.append([(PIPE, [b"tick"])], when=await in_us(storage, -SECOND_US, HOURLY))
    await storage.promote()

    after = await storage.backlog()
    assert (after.queued, after.deferred, after.recurrent) == (1, 0, 1)


@pytest.mark.parametrize("missed", [1, 2, 59, 100_000])
async def test_S29_what_was_missed_comes_once_and_without_drift(storage: Storage, missed: int) -> None:
    when = await in_us(storage, -missed * MINUTE_US - 30 * SECOND_US)
    await storage.append([(PIPE, [b"tick"])], when=when)

    assert await storage.promote() == when.due_us + (missed + 1) * MINUTE_US

    assert await contents(storage, PIPE) == [b"tick"]


async def test_S29_it_comes_at_each_time_while_no_process_is_late(storage: Storage, lock: Lock) -> None:
    token, when = await claimed(lock), await in_us(storage, 0, "every 0.02")
    await storage.append([(PIPE, [b"tick"])], when=when)

    for _ in range(5):
        assert await storage.wait(everything, LIMIT_S, bound=KEY) == KEY
        batch = await drain(storage, PIPE, token)
        assert set(batch.messages) == {b"tick"}
        [scheduled] = await storage.scheduled()
        assert (scheduled.due_us - when.due_us) % 20_000 == 0
        assert scheduled.due_us > when.due_us


async def test_S29_a_sleeping_wait_returns_at_the_time(storage: Storage) -> None:
    waiting = await suspended(storage.wait(everything))

    await storage.append([(PIPE, [b"tick"])], when=await in_us(storage, round(NEVER_S * SECOND_US)))

    assert await finished(waiting) == KEY


async def test_S29_an_occurrence_comes_beside_one_that_is_still_queued(storage: Storage) -> None:
    when = await in_us(storage, -SECOND_US)
    await storage.append([(PIPE, [b"tick"])], when=when)
    await storage.promote()
    await storage.unschedule(PIPE, b"tick")
    await storage.append([(PIPE, [b"tick"])], when=when)
    await storage.promote()

    assert await contents(storage, PIPE) == [b"tick", b"tick"]


async def test_S29_a_schedule_that_is_over_ends(storage: Storage) -> None:
    """The last time of a rule comes, and nothing after it."""
    soon = datetime.fromtimestamp((await now_us(storage) + 3 * SECOND_US // 2) // SECOND_US, UTC)
    rule = f"DTSTART;TZID=UTC:{soon:%Y%m%dT%H%M%S} RRULE:FREQ=DAILY;COUNT=1"
    assert await storage.append([(PIPE, [b"tick"])], when=When(schedule=rule)) == 1

    assert await storage.wait(everything, LIMIT_S) == KEY
    assert await storage.promote() is None

    assert await contents(storage, PIPE) == [b"tick"]
    assert await recurrent(storage) == 0
    assert await storage.scheduled() == []


async def test_S29_several_who_wait_get_each_time_once(storage: Storage) -> None:
    """They are woken at the same time."""
    when = await in_us(storage, round(NEVER_S * SECOND_US))
    await storage.append([(PIPE, [b"one", b"two"])], when=when)

    await asyncio.gather(*(in_thread(lambda: storage.wait(frozenset({split_key(KEY)[0]}), LIMIT_S)) for _ in range(3)))

    assert await storage.promote() == when.due_us + MINUTE_US
    assert await contents(storage, PIPE) == [b"one", b"two"]


@pytest.mark.requires("multiprocess")
async def test_S29_several_processes_that_wait_get_each_time_once(backend: Backend, driver: Driver, root: Path) -> None:
    storage, names = backend.storage, [b"tick-%d" % number for number in range(50)]

    async def wait() -> str:
        async with peer(root, driver.name, backend.address, "promote", OTHER_KEY, KEY) as waiting:
            return waiting.said

    waiting = [asyncio.create_task(wait()) for _ in range(3)]
    when = await in_us(storage, round(NEVER_S * SECOND_US))
    await storage.append([(PIPE, names)], when=when)
    await storage.append([(OTHER, [b"go"])])

    assert {await finished(task) for task in waiting} == {str(when.due_us + MINUTE_US)}
    assert sorted(await contents(storage, PIPE)) == sorted(names)


@pytest.mark.requires("multiprocess")
async def test_S29_a_schedule_outlives_the_process_that_gave_it(backend: Backend, driver: Driver, root: Path) -> None:
    due_us = await now_us(backend.storage) - SECOND_US
    command = "schedule", PIPE, "tick", str(due_us), MINUTELY
    async with peer(root, driver.name, backend.address, *command) as giving:
        assert giving.said == "1"
        await giving.kill()

    assert await backend.storage.promote() == due_us + MINUTE_US
    assert await contents(backend.storage, PIPE) == [b"tick"]


@pytest.mark.requires("bounded")
async def test_S29_a_time_that_found_no_room_is_not_lost(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await storage.append([(OTHER, [CHUNK])], when=await in_us(storage, -SECOND_US))
    await fill(storage)
    await storage.promote()

    await drain(storage, PIPE, token)
    await storage.promote()

    assert await contents(storage, OTHER) == [CHUNK]
    assert await recurrent(storage) == 1


@pytest.mark.requires("bounded")
async def test_S29_a_worker_is_woken_by_the_room_for_what_is_due(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await storage.append([(OTHER, [CHUNK])], when=await in_us(storage, -SECOND_US))
    await fill(storage)
    key = await storage.wait(everything, 0)
    if key is None:  # a driver may keep the room for it
        waiting = await suspended(storage.wait(everything))
        await drain(storage, PIPE, token)
        key = await finished(waiting)

    assert key == OTHER_KEY


@pytest.mark.requires("bounded")
async def test_S29_schedules_take_room_until_they_end(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    scheduled = 0
    while await storage.append([(PIPE, [b"%d" % scheduled + CHUNK])], when=await in_us(storage, MINUTE_US)):
        scheduled += 1
        assert scheduled <= 16, "never full"
    assert await storage.append([(BESIDE, [CHUNK] * 4)]) is None

    ended = await storage.unschedule(PIPE, *[b"%d" % number + CHUNK for number in range(scheduled)])

    assert ended == scheduled
    assert await storage.append([(BESIDE, [CHUNK] * 4)]) == 4


@pytest.mark.requires("bounded")
async def test_S29_what_can_never_fit_is_too_large(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage

    with pytest.raises(MessageTooLarge):
        await storage.append([(PIPE, [bytes(2 * MIB)])], when=await in_us(storage, MINUTE_US))

    assert await recurrent(storage) == 0


@pytest.mark.requires("bounded")
@pytest.mark.parametrize("threads", [1, 2])
async def test_S29_what_could_wait_but_never_come_is_too_large(open_backend: OpenBackend, threads: int) -> None:
    storage = open_backend(1 * MIB).storage
    parts = [(f"{OTHER_KEY}/0", [b"small"]), (PIPE, [bytes(600 << 10)])][-threads:]

    with pytest.raises(MessageTooLarge):
        await storage.append(parts, when=await in_us(storage, MINUTE_US))

    assert await recurrent(storage) == 0


async def test_S29_without_a_time_the_first_is_that_of_the_schedule(storage: Storage) -> None:
    before_us = await now_us(storage)
    assert await storage.append([(PIPE, [b"tick"])], when=When(schedule=HOURLY)) == 1
    after_us = await now_us(storage)

    [found] = await storage.scheduled()
    assert before_us + 60 * MINUTE_US <= found.due_us <= after_us + 60 * MINUTE_US


async def test_S29_the_first_time_may_be_after_a_span(storage: Storage) -> None:
    await storage.append([(PIPE, [b"tick"])], when=When(None, HOURLY, 0))

    due_us = await storage.promote()

    assert await contents(storage, PIPE) == [b"tick"]
    assert due_us is not None
    assert due_us > await now_us(storage)


OVER = "DTSTART;TZID=UTC:20010101T000000 RRULE:FREQ=DAILY;COUNT=1"


@pytest.mark.parametrize("schedule", [OVER, "now and then"])
@pytest.mark.parametrize("times", [{}, {"after_us": 5}, {"due_us": 1}], ids=["first", "after", "at"])
async def test_S29_a_schedule_that_never_comes_is_refused(
    storage: Storage, schedule: str, times: dict[str, int]
) -> None:
    with pytest.raises(ScheduleError):
        await storage.append([(PIPE, [b"tick"]), (OTHER, [b"tock"])], when=When(schedule=schedule, **times))

    assert await recurrent(storage) == 0
    assert await storage.promote() is None


# S30


async def test_S30_the_same_schedule_again_changes_nothing(storage: Storage) -> None:
    first = await in_us(storage, MINUTE_US)
    await storage.append([(PIPE, [b"tick"])], when=first)

    assert await storage.append([(PIPE, [b"tick"])], when=When(first.due_us + 5 * SECOND_US, MINUTELY)) == 1
    assert await storage.append([(PIPE, [b"tick", b"tick"])], when=When(first.due_us - 5, MINUTELY)) == 2

    assert await storage.scheduled() == [(PIPE, b"tick", MINUTELY, first.due_us)]
    assert await recurrent(storage) == 1
    assert await storage.promote() == first.due_us


@pytest.mark.parametrize("shift_us", [-30 * SECOND_US, 0, 30 * SECOND_US], ids=["earlier", "same", "later"])
async def test_S30_another_schedule_takes_the_place_of_the_first(storage: Storage, shift_us: int) -> None:
    first = await in_us(storage, MINUTE_US)
    await storage.append([(PIPE, [b"tick"])], when=first)
    second = When(first.due_us + shift_us, HOURLY)

    assert await storage.append([(PIPE, [b"tick"])], when=second) == 1

    assert await storage.scheduled() == [(PIPE, b"tick", HOURLY, second.due_us)]
    assert await storage.promote() == second.due_us


async def test_S30_a_changed_schedule_comes_by_the_new_one_alone(storage: Storage) -> None:
    for schedule in (HOURLY, MINUTELY, HOURLY, MINUTELY):
        await storage.append([(PIPE, [b"tick"])], when=await in_us(storage, MINUTE_US, schedule))
    last = await in_us(storage, -SECOND_US, HOURLY)
    await storage.append([(PIPE, [b"tick"])], when=last)

    assert await storage.promote() == last.due_us + 60 * MINUTE_US

    assert await contents(storage, PIPE) == [b"tick"]


async def test_S30_the_same_schedule_after_a_time_keeps_the_next(storage: Storage) -> None:
    first = await in_us(storage, -SECOND_US)
    await storage.append([(PIPE, [b"tick"])], when=first)
    await storage.promote()

    await storage.append([(PIPE, [b"tick"])], when=first)

    assert await storage.promote() == first.due_us + MINUTE_US
    assert await contents(storage, PIPE) == [b"tick"]


async def test_S30_an_earlier_schedule_wakes_who_waits(storage: Storage) -> None:
    await storage.append([(PIPE, [b"tick"])], when=await in_us(storage, MINUTE_US))
    waiting = await suspended(storage.wait(everything))

    await storage.append([(PIPE, [b"tick"])], when=await in_us(storage, round(NEVER_S * SECOND_US), HOURLY))

    assert await finished(waiting) == KEY


async def test_S30_with_absent_the_one_there_is_stays(storage: Storage) -> None:
    first = await in_us(storage, MINUTE_US)
    assert await storage.append([(PIPE, [b"tick", b"tick"])], when=first, absent=True) == 1

    hourly = When(first.due_us + 5, HOURLY)
    assert await storage.append([(PIPE, [b"tick"])], when=hourly, absent=True) == 0
    assert await storage.append([(PIPE, [b"tick"])], when=first, absent=True) == 0
    assert await storage.append([(PIPE, [b"tick", b"tock"])], when=hourly, absent=True) == 1

    assert await storage.scheduled() == [
        (PIPE, b"tick", first.schedule, first.due_us),
        (PIPE, b"tock", hourly.schedule, hourly.due_us),
    ]


async def test_S30_equal_messages_of_other_pipes_are_others(storage: Storage) -> None:
    when = await in_us(storage, MINUTE_US)
    for pipe in (PIPE, OTHER, f"{KEY}/1"):
        assert await storage.append([(pipe, [b"tick"])], when=when, absent=True) == 1

    assert await recurrent(storage) == 3
    assert await storage.unschedule(OTHER, b"tick") == 1
    assert {pipe for pipe, *_ in await storage.scheduled()} == {PIPE, f"{KEY}/1"}


async def test_S30_scheduled_lists_the_next_due_first(storage: Storage) -> None:
    assert await storage.scheduled() == []
    base = await in_us(storage, MINUTE_US)
    for name, after_us in ((b"c", 30), (b"a", 10), (b"", 40), (b"b", 20)):
        await storage.append([(PIPE, [name])], when=When(base.due_us + after_us, MINUTELY))
    await storage.append([(PIPE, [b"once"])], when=When(base.due_us))

    found = await storage.scheduled()

    assert [(message, due_us - base.due_us) for _, message, _, due_us in found] == [
        (b"a", 10),
        (b"b", 20),
        (b"c", 30),
        (b"", 40),
    ]


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_S30_pages_list_each_once_in_order(storage: Storage, limit: int) -> None:
    base, many = await in_us(storage, MINUTE_US), [b"many-%d" % number for number in range(20)]
    for after_us in (30, 10, 50, 20, 40):
        await storage.append([(PIPE, [b"%d" % after_us])], when=When(base.due_us + after_us, MINUTELY))
    await storage.append([(OTHER, many)], when=When(base.due_us + 25, MINUTELY))
    await storage.unschedule(OTHER, *many[3:9])

    found, page = list[bytes](), await storage.scheduled(limit=limit)
    while page.after is not None:
        assert len(page) <= limit
        found += [message for _, message, *_ in page]
        page = await storage.scheduled(page.after, limit)
    found += [message for _, message, *_ in page]

    assert found == [b"10", b"20", *many[:3], *many[9:], b"30", b"40", b"50"]


async def test_S30_what_ends_between_pages_is_not_listed(storage: Storage) -> None:
    names = [b"%d" % number for number in range(20)]
    base = await in_us(storage, MINUTE_US)
    for number, name in enumerate(names):
        await storage.append([(PIPE, [name])], when=When(base.due_us + number, MINUTELY))
    page = await storage.scheduled(limit=5)
    assert [message for _, message, *_ in page] == names[:5]

    await storage.unschedule(PIPE, *names[3:10])
    await storage.append([(PIPE, [b"new"])], when=When(base.due_us + 100, MINUTELY))

    rest = [found.message async for found in each(lambda after: storage.scheduled(after or page.after, 4))]
    assert [name for name in rest if name != b"new"] == names[10:]


async def test_S30_unschedule_ends_those_that_are_equal(storage: Storage) -> None:
    when = await in_us(storage, round(NEVER_S * SECOND_US))
    await storage.append([(OTHER, [b"a", b"b", b"c"])], when=when)
    later = await in_us(storage, MINUTE_US)
    await storage.append([(PIPE, [b"a", b"b", b"c"])], when=later)

    assert await storage.unschedule(PIPE, b"a", b"c", b"a", b"not there") == 2
    assert await storage.unschedule(PIPE, b"a") == 0
    assert await storage.unschedule("app.jobs/Resize/9/0", b"b") == 0
    assert await storage.unschedule(PIPE) == 0

    assert [found for found in await storage.scheduled() if found.pipe == PIPE] == [
        (PIPE, b"b", MINUTELY, later.due_us)
    ]
    assert await recurrent(storage) == 4


async def test_S30_what_was_unscheduled_does_not_come(storage: Storage) -> None:
    when = await in_us(storage, MINUTE_US)
    await storage.append([(PIPE, [b"tick"])], when=when)
    await storage.unschedule(PIPE, b"tick")

    assert await storage.promote() is None

    assert await storage.scheduled() == []
    assert await recurrent(storage) == 0


async def test_S30_unschedule_leaves_what_came_and_what_waits_once(storage: Storage) -> None:
    when = await in_us(storage, -SECOND_US)
    await storage.append([(PIPE, [b"tick"])], when=when)
    await storage.promote()
    await storage.append([(PIPE, [b"tick"])], when=When(when.due_us + MINUTE_US))

    assert await storage.unschedule(PIPE, b"tick") == 1

    backlog = await storage.backlog()
    assert (backlog.queued, backlog.deferred, backlog.recurrent) == (1, 1, 0)


async def test_S30_remove_leaves_schedules(storage: Storage) -> None:
    await storage.append([(PIPE, [b"tick"])], when=await in_us(storage, MINUTE_US))
    assert await storage.remove(PIPE, b"tick") == 0
    when = await in_us(storage, -SECOND_US, HOURLY)
    await storage.append([(PIPE, [b"tick"])], when=when)
    await storage.promote()

    assert await storage.remove(PIPE, b"tick") == 1

    assert await storage.scheduled() == [(PIPE, b"tick", HOURLY, when.due_us + 60 * MINUTE_US)]


async def test_S30_absent_without_a_schedule_does_not_see_schedules(storage: Storage) -> None:
    when = await in_us(storage, MINUTE_US)
    await storage.append([(PIPE, [b"tick"])], when=when)

    assert await storage.append([(PIPE, [b"tick"])], absent=True) == 1
    assert await storage.append([(PIPE, [b"tick"])], absent=True) == 0


async def test_S30_absent_with_a_schedule_sees_schedules_alone(storage: Storage) -> None:
    when = await in_us(storage, MINUTE_US)
    await storage.append([(PIPE, [b"queued"])])
    await storage.append([(PIPE, [b"waiting"])], when=When(when.due_us))

    assert await storage.append([(PIPE, [b"queued", b"waiting"])], when=when, absent=True) == 2

    assert await recurrent(storage) == 2
