"""Single times of what comes again and again are left out: S48 of `shardq.protocols.Deferrals`, on every driver."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from shardq.model import Scheduled, When
from shardq.model.trace import Trace, traced
from shardq.protocols import Storage
from tests.conftest import OpenBackend
from tests.contracts.test_storage import CHUNK, OTHER, PIPE, claimed, contents, drain, everything, fill
from tests.support.clock import now_us
from tests.support.drivers import MIB
from tests.support.tasks import LIMIT_S, in_thread

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
HOURLY = "every 3600"


async def repeated(storage: Storage, *messages: bytes, in_us: int = HOUR_US, schedule: str = HOURLY) -> list[Scheduled]:
    """Have them come again and again, given in one call. Returns them as they are listed."""
    when = When(await now_us(storage) + in_us, schedule)
    await storage.append([(PIPE, messages)], when=when)
    return await listed(storage)


async def listed(storage: Storage) -> list[Scheduled]:
    return list(await storage.scheduled(None, 100))


async def test_S48_a_time_is_left_out_and_the_next_one_counts_from_it(storage: Storage) -> None:
    [tick] = await repeated(storage, b"tick")
    before = await storage.backlog()

    assert await storage.deferrals.skip(tick)

    assert await listed(storage) == [tick._replace(due_us=tick.due_us + HOUR_US)]
    assert await storage.backlog() == before
    assert await storage.promote() == tick.due_us + HOUR_US


async def test_S48_what_is_skipped_does_not_come_and_others_do(storage: Storage) -> None:
    [tick] = await repeated(storage, b"tick", in_us=SECOND_US // 2)
    await storage.append([(PIPE, [b"tock"])], when=When(tick.due_us, HOURLY))
    await storage.append([(PIPE, [b"once"])], when=When(tick.due_us))
    assert await storage.deferrals.skip(tick)

    assert await storage.wait(everything, LIMIT_S)
    async with asyncio.timeout(LIMIT_S):
        while await storage.length(PIPE) < 2:
            await storage.promote()

    assert sorted(await contents(storage, PIPE)) == [b"once", b"tock"]
    assert {its.due_us for its in await listed(storage)} == {tick.due_us + HOUR_US}


async def test_S48_a_time_is_skipped_once(storage: Storage) -> None:
    [tick] = await repeated(storage, b"tick")

    assert await storage.deferrals.skip(tick)
    assert await storage.deferrals.skip(tick) is None
    [after] = await listed(storage)
    assert await storage.deferrals.skip(after)

    assert await listed(storage) == [tick._replace(due_us=tick.due_us + 2 * HOUR_US)]


async def test_S48_what_is_gone_or_changed_is_not_skipped(storage: Storage) -> None:
    [tick] = await repeated(storage, b"tick")
    for other in (
        tick._replace(message=b"tock"),
        tick._replace(pipe=OTHER),
        tick._replace(schedule="every 60"),
        tick._replace(due_us=tick.due_us + 1),
    ):
        assert await storage.deferrals.skip(other) is None
    assert await listed(storage) == [tick]

    assert await storage.unschedule(PIPE, b"tick") == 1
    assert await storage.deferrals.skip(tick) is None
    assert await listed(storage) == []


async def test_S48_one_of_those_that_were_given_together_is_skipped_alone(storage: Storage) -> None:
    one, two, three = await repeated(storage, b"one", b"two", b"three")

    assert await storage.deferrals.skip(two)

    assert await listed(storage) == [one, three, two._replace(due_us=two.due_us + HOUR_US)]
    assert (await storage.backlog()).recurrent == 3
    assert await storage.deferrals.skip(one)
    assert await storage.deferrals.skip(three)
    assert {its.due_us for its in await listed(storage)} == {one.due_us + HOUR_US}
    assert await storage.unschedule(PIPE, b"one", b"two", b"three") == 3


async def test_S48_registering_it_again_keeps_what_was_skipped(storage: Storage) -> None:
    [tick] = await repeated(storage, b"tick")
    assert await storage.deferrals.skip(tick)

    [after] = await repeated(storage, b"tick")

    assert after.due_us == tick.due_us + HOUR_US


async def test_S48_another_trace_context_makes_no_other_message(storage: Storage) -> None:
    [tick] = await repeated(storage, b"tick")
    [elsewhere] = traced([b"tick"], Trace(bytes(range(16)), bytes(range(8)), 1))

    assert await storage.deferrals.skip(tick._replace(message=elsewhere))

    assert [its.message for its in await listed(storage)] == [b"tick"]


async def test_S48_where_no_time_is_left_it_ends(storage: Storage) -> None:
    soon = datetime.fromtimestamp(await now_us(storage) // SECOND_US + 60, UTC)
    rule = f"DTSTART;TZID=UTC:{soon:%Y%m%dT%H%M%S} RRULE:FREQ=DAILY;COUNT=2"
    for message in (b"tick", b"tock"):
        await storage.append([(PIPE, [message])], when=When(schedule=rule))
    [tick, tock] = await listed(storage)

    assert await storage.deferrals.skip(tick)
    [_, last] = await listed(storage)
    assert (last.message, last.due_us) == (tick.message, tick.due_us + 24 * HOUR_US)
    assert await storage.deferrals.skip(last)

    assert await listed(storage) == [tock]
    assert (await storage.backlog()).recurrent == 1
    assert await storage.deferrals.skip(last) is None


async def test_S48_of_several_one_skips_a_time(storage: Storage) -> None:
    """Threads skip what they see, and no time is left out twice."""
    [tick] = await repeated(storage, b"tick")

    async def skip() -> int:
        done = 0
        for _ in range(5):
            [seen] = await listed(storage)
            done += bool(await storage.deferrals.skip(seen))
        return done

    done = sum(await asyncio.gather(*(in_thread(skip) for _ in range(3))))

    assert await listed(storage) == [tick._replace(due_us=tick.due_us + done * HOUR_US)]
    assert done >= 5


@pytest.mark.requires("bounded")
async def test_S48_a_full_storage_skips_what_was_given_alone(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    [tick] = await repeated(storage, b"tick")
    await fill(storage)

    assert await storage.deferrals.skip(tick)

    assert await listed(storage) == [tick._replace(due_us=tick.due_us + HOUR_US)]


@pytest.mark.requires("bounded")
async def test_S48_a_time_that_found_no_room_is_skipped(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    when = When(await now_us(storage) - SECOND_US, HOURLY)
    await storage.append([(OTHER, [CHUNK])], when=when)
    await fill(storage)
    await storage.promote()
    if await contents(storage, OTHER):
        return  # this driver kept the room for it

    async with asyncio.timeout(LIMIT_S):
        while not await storage.deferrals.skip((await listed(storage))[0]):
            pass  # it was put off meanwhile

    await drain(storage, PIPE, token)
    await storage.promote()
    assert await contents(storage, OTHER) == []
    assert [its.due_us for its in await listed(storage)] == [when.due_us + HOUR_US]


async def test_S48_a_late_time_is_followed_by_one_that_is_to_come(storage: Storage) -> None:
    """What is late by days when it is skipped does not come for each of them."""
    when = When(await now_us(storage) - 50 * HOUR_US - HOUR_US // 2, HOURLY)
    await storage.append([(PIPE, [b"tick"])], when=when)
    [tick] = await listed(storage)
    if tick.due_us != when.due_us:
        return  # this driver had it come at once

    assert await storage.deferrals.skip(tick)

    assert [its.due_us for its in await listed(storage)] == [when.due_us + 51 * HOUR_US]
    assert await storage.wait(everything, 0) is None
    assert await storage.pipes() == []
