"""Single messages that wait for their time: S40 to S44 of `shardq.protocols.Deferrals`, on every driver."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shardq.errors import ConfigurationError
from shardq.model import Deferred, When
from shardq.model.trace import Trace, traced
from shardq.pages import each
from shardq.protocols import Lock, Storage
from tests.conftest import OpenBackend
from tests.contracts.test_storage import OTHER, PIPE, claimed, contents, drain, fill, numbered
from tests.contracts.test_time import came
from tests.support.clock import now_us
from tests.support.drivers import MIB
from tests.support.tasks import LIMIT_S, in_thread

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US


async def deferred(storage: Storage, *messages: bytes, pipe: str = PIPE, in_us: int = HOUR_US) -> int:
    """Defer them in one call, and say when they are due."""
    due_us = await now_us(storage) + in_us
    assert await storage.append([(pipe, messages)], when=When(due_us)) == len(messages)
    return due_us


async def waiting(storage: Storage, after: str | None = None, limit: int = 7) -> list[Deferred]:
    page = await storage.deferrals.page(after, limit)
    if page.after is None:
        return list(page)
    return [*page, *[each async for each in each(lambda further: storage.deferrals.page(further or page.after, limit))]]


async def ids(storage: Storage, *messages: bytes) -> list[str]:
    """The ids of those with these messages, in this order."""
    found = {its.message: its.id for its in await waiting(storage)}
    return [found[message] for message in messages]


def messages_of(found: Sequence[Deferred]) -> list[bytes]:
    return [its.message for its in found]


# S40


async def test_S40_they_are_listed_in_the_order_of_their_times(storage: Storage) -> None:
    late_us = await deferred(storage, b"late", pipe=OTHER, in_us=2 * HOUR_US)
    soon_us = await deferred(storage, b"one", b"two")
    await storage.append([(PIPE, [b"again"])], when=When(soon_us, "every 3600"))
    await storage.append([(PIPE, [b"queued"])])

    found = await waiting(storage)

    assert [(its.pipe, its.due_us, its.message) for its in found] == [
        (PIPE, soon_us, b"one"),
        (PIPE, soon_us, b"two"),
        (OTHER, late_us, b"late"),
    ]
    assert len({its.id for its in found}) == 3


@pytest.mark.parametrize("limit", [1, 3, 64])
async def test_S40_they_are_listed_page_by_page(storage: Storage, limit: int) -> None:
    """Of one call and of several, at one time and at several."""
    due_us = await now_us(storage) + HOUR_US
    for start in range(0, 40, 8):
        await storage.append([(PIPE, numbered(8, start))], when=When(due_us + start // 16))

    assert messages_of(await waiting(storage, limit=limit)) == numbered(40)


@pytest.mark.parametrize("limit", [2, 100])
async def test_S40_a_listing_begins_behind_an_id(storage: Storage, limit: int) -> None:
    """Which may be in the middle of a call, and gone."""
    due_us = await now_us(storage) + HOUR_US
    for start in range(0, 12, 4):
        await storage.append([(PIPE, numbered(4, start))], when=When(due_us))
    every = [its.id for its in await waiting(storage)]

    for place, its_id in enumerate(every):
        assert messages_of(await waiting(storage, its_id, limit)) == numbered(12)[place + 1 :]
        assert await storage.deferrals.cancel(its_id) == 1
        assert messages_of(await waiting(storage, its_id, limit)) == numbered(12)[place + 1 :]


async def test_S40_an_id_stays_whatever_becomes_of_others(storage: Storage) -> None:
    await deferred(storage, *numbered(6))
    every = [its.id for its in await waiting(storage)]

    await storage.deferrals.cancel(every[2])
    await storage.remove(PIPE, numbered(6)[0])
    await storage.deferrals.run(every[3])
    await deferred(storage, b"another")

    assert [its.id for its in await waiting(storage)][:3] == [every[1], every[4], every[5]]


# S41


async def test_S41_one_is_found_by_its_id(storage: Storage) -> None:
    await deferred(storage, b"one", b"two", b"three")
    for its in await waiting(storage):
        assert await storage.deferrals.find(its.id) == its

    [its_id] = await ids(storage, b"two")
    await storage.deferrals.cancel(its_id)

    assert await storage.deferrals.find(its_id) is None


async def test_S41_what_is_no_id_is_refused(storage: Storage) -> None:
    await deferred(storage, b"one")
    for wrong in ("", "one", "1-2", "-1-2-3-4", "g-0-0-0", "1-2-3-4-5", "f" * 17 + "-1-1-1"):
        with pytest.raises(ConfigurationError, match="no id of a request that waits"):
            await storage.deferrals.find(wrong)
        with pytest.raises(ConfigurationError, match="no id of a request that waits"):
            await storage.deferrals.cancel((await ids(storage, b"one"))[0], wrong)
        with pytest.raises(ConfigurationError, match="no id of a request that waits"):
            await storage.deferrals.run(wrong)
    assert (await storage.backlog()).deferred == 1


async def test_S41_an_id_that_leads_nowhere_finds_nothing(storage: Storage) -> None:
    await deferred(storage, b"one")
    [its_id] = await ids(storage, b"one")
    parts = its_id.split("-")
    for place in range(len(parts)):
        for other in ("0", "1", "8", "fffffff", "f" * 13, "f" * 16):
            if other != parts[place]:
                wrong = "-".join([*parts[:place], other, *parts[place + 1 :]])
                assert await storage.deferrals.find(wrong) is None
                assert await storage.deferrals.cancel(wrong) == 0
                assert await storage.deferrals.run(wrong) is None
    assert (await storage.deferrals.find(its_id)) is not None


# S42


async def test_S42_what_is_cancelled_never_comes_and_others_do(storage: Storage, lock: Lock) -> None:
    cancelled = 0

    async def defer(base_us: int) -> None:
        nonlocal cancelled
        for messages in (numbered(5), [b"other"]):
            await storage.append([(PIPE, messages)], when=When(base_us))
        stay = (numbered(5)[0], numbered(5)[4])
        unwanted = [its.id for its in await waiting(storage) if its.message not in stay]
        cancelled = await storage.deferrals.cancel(*unwanted)

    await came(storage, defer)

    assert cancelled == 4
    assert (await drain(storage, PIPE, await claimed(lock))).messages == [numbered(5)[0], numbered(5)[4]]


async def test_S42_counts_and_equality_forget_it(storage: Storage) -> None:
    await deferred(storage, b"one", b"two")
    before = await storage.backlog()
    assert await storage.append([(PIPE, [b"one"])], absent=True) == 0

    assert await storage.deferrals.cancel(*await ids(storage, b"one")) == 1

    after = await storage.backlog()
    assert (before.deferred, after.deferred) == (2, 1)
    assert (after.accepted, after.handled) == (before.accepted, before.handled)
    assert await storage.append([(PIPE, [b"two"])], absent=True) == 0
    assert await storage.append([(PIPE, [b"one"])], absent=True) == 1


async def test_S42_of_equal_ones_the_others_stay(storage: Storage) -> None:
    await deferred(storage, b"x", b"x", b"x")
    first, second, third = [its.id for its in await waiting(storage)]

    assert await storage.deferrals.cancel(second) == 1
    assert await storage.deferrals.cancel(second) == 0
    assert await storage.append([(PIPE, [b"x"])], absent=True) == 0
    assert await storage.deferrals.cancel(first, third) == 2

    assert await storage.append([(PIPE, [b"x"])], absent=True) == 1


async def test_S42_equals_with_other_trace_contexts_are_equals(storage: Storage) -> None:
    [one], [other] = (traced([b"x"], Trace(bytes([its]) * 16, bytes([its]) * 8, 1)) for its in (1, 2))
    await deferred(storage, one, other)
    first, second = await waiting(storage)
    assert {first.message, second.message} == {one, other}

    assert await storage.deferrals.cancel(first.id) == 1
    assert await storage.append([(PIPE, [b"x"])], absent=True) == 0
    assert await storage.deferrals.cancel(second.id) == 1

    assert await storage.append([(PIPE, [b"x"])], absent=True) == 1


async def test_S42_many_are_cancelled_in_one_call(storage: Storage) -> None:
    due_us = await now_us(storage) + HOUR_US
    for start in range(0, 300, 100):
        await storage.append([(PIPE, numbered(100, start))], when=When(due_us))
    every = [its.id for its in await waiting(storage, limit=64)]

    assert await storage.deferrals.cancel(*every[::2]) == 150
    assert messages_of(await waiting(storage, limit=64)) == numbered(300)[1::2]


async def test_S42_who_waits_until_all_is_done_is_woken(storage: Storage) -> None:
    await deferred(storage, b"one")
    quiet = asyncio.create_task(storage.wait_for_quiet(LIMIT_S, deferred=True))
    await asyncio.sleep(0)

    assert await storage.deferrals.cancel(*await ids(storage, b"one")) == 1

    assert await quiet


# S43


async def test_S43_it_comes_now_behind_what_is_there(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"zero"])])
    await deferred(storage, *numbered(4))
    chosen = await ids(storage, numbered(4)[2], numbered(4)[0])

    assert [await storage.deferrals.run(its_id) for its_id in chosen] == [True, True]

    assert messages_of(await waiting(storage)) == [numbered(4)[1], numbered(4)[3]]
    counts = await storage.backlog()
    assert (counts.queued, counts.deferred) == (3, 2)
    wanted = [b"zero", numbered(4)[2], numbered(4)[0]]
    assert (await drain(storage, PIPE, await claimed(lock))).messages == wanted


async def test_S43_the_last_of_a_call_comes_as_well(storage: Storage, lock: Lock) -> None:
    """However large it is."""
    await deferred(storage, b"l" * 20_000, b"m" * 20_000)
    for its in await waiting(storage):
        assert await storage.deferrals.run(its.id)

    assert await waiting(storage) == []
    assert (await drain(storage, PIPE, await claimed(lock))).messages == [b"l" * 20_000, b"m" * 20_000]


async def test_S43_a_sleeping_wait_returns(storage: Storage) -> None:
    await deferred(storage, b"one")
    [its_id] = await ids(storage, b"one")
    woken = asyncio.create_task(storage.wait(None, LIMIT_S))
    await asyncio.sleep(0)

    assert await storage.deferrals.run(its_id)

    assert await woken is not None


async def test_S43_it_is_an_equal_until_it_is_handled(storage: Storage, lock: Lock) -> None:
    await deferred(storage, b"one", b"two")
    assert await storage.deferrals.run((await ids(storage, b"one"))[0])
    assert await storage.append([(PIPE, [b"one"])], absent=True) == 0

    await drain(storage, PIPE, await claimed(lock))

    assert await storage.append([(PIPE, [b"one"])], absent=True) == 1
    assert await storage.append([(PIPE, [b"two"])], absent=True) == 0


@pytest.mark.requires("bounded")
async def test_S43_where_there_is_no_room_it_waits_on(open_backend: OpenBackend) -> None:
    """Or it has its room already."""
    storage = open_backend(1 * MIB).storage
    await deferred(storage, *[b"d" * 1000] * 8)
    await fill(storage)
    before = await storage.backlog()

    ran = [await storage.deferrals.run(its.id) for its in await waiting(storage)]

    after = await storage.backlog()
    assert set(ran) <= {True, False}
    assert after.deferred == 8 - sum(map(bool, ran))
    assert after.queued == before.queued + sum(map(bool, ran))


# S44


async def test_S44_what_is_gone_is_said(storage: Storage) -> None:
    await deferred(storage, b"one", b"two", b"three")
    one, two, three = await ids(storage, b"one", b"two", b"three")
    assert await storage.deferrals.run(one)
    assert await storage.deferrals.cancel(two)
    assert await storage.remove(PIPE, b"three") == 1

    for gone in (one, two, three):
        assert await storage.deferrals.run(gone) is None
        assert await storage.deferrals.cancel(gone) == 0
    assert await contents(storage, PIPE) == [b"one"]


async def test_S44_what_has_come_at_its_time_is_gone(storage: Storage) -> None:
    seen = list[Deferred]()

    async def defer(base_us: int) -> None:
        await storage.append([(PIPE, [b"one"])], when=When(base_us))
        seen[:] = await waiting(storage)

    await came(storage, defer)

    [its] = seen
    assert await storage.deferrals.run(its.id) is None
    assert await storage.deferrals.cancel(its.id) == 0
    assert await contents(storage, PIPE) == [b"one"]


async def test_S44_one_of_several_wins(storage: Storage) -> None:
    """Threads cancel and run the same ones, while they come due."""
    await deferred(storage, *numbered(40), in_us=SECOND_US // 10)
    every = [its.id for its in await waiting(storage, limit=64)]

    async def cancel() -> int:
        return sum([await storage.deferrals.cancel(its_id) for its_id in every])

    async def run() -> int:
        return sum([bool(await storage.deferrals.run(its_id)) for its_id in reversed(every)])

    cancelled, ran, more = await asyncio.gather(in_thread(cancel), in_thread(run), in_thread(run))

    async with asyncio.timeout(LIMIT_S):
        while (await storage.backlog()).deferred:
            await storage.promote()
    came = await contents(storage, PIPE)
    assert len(came) == len(set(came)) == 40 - cancelled
    assert ran + more <= len(came)
