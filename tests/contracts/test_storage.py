"""The clauses S1.. of `shardq.protocols.Storage`, on every driver and both event loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from shardq.errors import FencedError, HandlerError, MessageTooLarge
from shardq.model import EMPTY, Batch, Counts, Hand, Terms, When, inbox_key, inbox_pipe, split_key
from shardq.pages import each
from shardq.protocols import Lock, Served, Storage
from tests.conftest import OpenBackend
from tests.contracts.kit.peer import peer
from tests.contracts.kit.rooms import sharing
from tests.support import hands
from tests.support.clock import now_us
from tests.support.drivers import MIB, Backend, Driver
from tests.support.tasks import LIMIT_S, NEVER_S, cancelled, finished, in_thread, suspended, without_suspending

KEY = "app.jobs/Resize/7"
PIPE = f"{KEY}/0"
OTHER_KEY = "app.jobs/Crop/8"
OTHER = f"{OTHER_KEY}/0"
[BESIDE] = sharing(PIPE, "app.jobs/Crop", 1)
"""One that finds no room where `PIPE` finds none."""

CHUNK = bytes(64 * 1024)


#: What a worker serves that has all handlers.
everything: Served = None


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"message-%d" % number for number in range(start, start + count)]


async def contents(storage: Storage, pipe: str) -> list[bytes]:
    return (await storage.range(pipe, 1_000_000)).messages


def seen(batch: Batch) -> tuple[int, int, list[bytes]]:
    return batch.sequence, batch.through, batch.messages


async def claimed(lock: Lock, key: str = KEY) -> int:
    token = await lock.acquire(key)
    assert token > 0
    return token


async def drain(storage: Storage, pipe: str, token: int) -> Batch:
    """Acknowledge all that is in the tube; returns what it was."""
    batch = await hands.take(storage, [pipe], 1_000_000, token)
    await hands.pop(storage, pipe, batch.through, token)
    return batch


async def fill(storage: Storage, pipe: str = PIPE) -> int:
    """Append chunks until one is refused; returns how many were taken."""
    for taken in range(1_000):
        if not await storage.append([(pipe, [CHUNK])]):
            return taken
    raise AssertionError("never full")


# S1


async def test_S1_calls_come_out_in_the_order_they_were_taken(storage: Storage) -> None:
    expected: list[bytes] = []
    for size in (1, 3, 1, 128, 2, 500):
        messages = numbered(size, start=len(expected))
        assert await storage.append([(PIPE, messages)])
        expected += messages

    assert await contents(storage, PIPE) == expected


async def test_S1_one_call_of_ten_thousand_keeps_its_order(storage: Storage, lock: Lock) -> None:
    token = await claimed(lock)
    messages = numbered(10_000)
    assert await storage.append([(PIPE, messages)])

    taken: list[bytes] = []
    while (batch := await hands.take(storage, [PIPE], 128, token)).count:
        taken += batch.messages
        await hands.pop(storage, PIPE, batch.through, token)

    assert taken == messages


async def test_S1_tubes_do_not_mix(storage: Storage) -> None:
    for number in range(50):
        await storage.append([(PIPE, [b"here-%d" % number])])
        await storage.append([(f"{KEY}/1", [b"there-%d" % number])])

    assert await contents(storage, PIPE) == [b"here-%d" % number for number in range(50)]
    assert await contents(storage, f"{KEY}/1") == [b"there-%d" % number for number in range(50)]


async def test_S1_two_thousand_tubes_keep_their_message(open_backend: OpenBackend) -> None:
    storage = open_backend(64 * MIB).storage
    pipes = [f"app.jobs/Resize/{thread}/0" for thread in range(2_000)]
    for pipe in pipes:
        assert await storage.append([(pipe, [pipe.encode()])])

    assert sorted([pipe async for pipe in each(storage.pipes)]) == sorted(pipes)
    for pipe in pipes:
        assert await contents(storage, pipe) == [pipe.encode()]


async def test_S1_several_threads_append_in_their_own_order(storage: Storage) -> None:
    async def produce(name: int) -> None:
        for number in range(200):
            assert await storage.append([(PIPE, [b"%d:%d" % (name, number)])])

    await asyncio.gather(*(in_thread(partial(produce, name)) for name in range(3)))

    found = await contents(storage, PIPE)
    assert len(found) == 600
    for name in range(3):
        own = [message for message in found if message.startswith(b"%d:" % name)]
        assert own == [b"%d:%d" % (name, number) for number in range(200)]


# S2


@pytest.mark.requires("bounded")
async def test_S2_a_refused_call_leaves_nothing(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    await fill(storage)
    before = seen(await storage.range(PIPE, 1_000_000))

    assert not await storage.append([(PIPE, [b"small", CHUNK, b"small"])])
    assert not await storage.append([(BESIDE, [CHUNK] * 4)])

    assert seen(await storage.range(PIPE, 1_000_000)) == before
    assert await storage.length(BESIDE) == 0
    assert not await storage.contains(PIPE, b"small")


async def test_S2_calls_of_several_threads_are_not_torn(storage: Storage) -> None:
    size, calls = 20, 50

    async def produce(name: int) -> None:
        for call in range(calls):
            assert await storage.append([(PIPE, [b"%d:%d" % (name, call)] * size)])

    await asyncio.gather(*(in_thread(partial(produce, name)) for name in range(3)))

    found = await contents(storage, PIPE)
    assert len(found) == 3 * calls * size
    for start in range(0, len(found), size):
        assert len(set(found[start : start + size])) == 1


async def test_S2_a_call_comes_into_all_its_tubes(storage: Storage) -> None:
    parts = [(f"app.jobs/Resize/{thread}/{priority}", numbered(3)) for thread in range(16) for priority in (0, 1)]
    assert await storage.append(parts) == 96
    assert await storage.append(parts[::2]) == 48
    for number, (pipe, messages) in enumerate(parts):
        assert await contents(storage, pipe) == messages * (2 - number % 2)


@pytest.mark.requires("bounded")
@pytest.mark.parametrize("when", [None, When(1 << 52), When(1 << 52, "every 60")], ids=["now", "later", "again"])
async def test_S2_a_call_that_is_refused_leaves_nothing_in_any_tube(
    open_backend: OpenBackend, when: When | None
) -> None:
    storage = open_backend(MIB).storage
    await fill(storage)
    freed = await storage.backlog()
    parts = [(f"app.jobs/Resize/{thread}/0", [CHUNK]) for thread in range(8)]
    assert await storage.append(parts, when=when) is None
    assert await storage.backlog() == freed
    assert await storage.pipes() == [PIPE]


async def test_S2_a_step_has_each_pipe_once(storage: Storage) -> None:
    with pytest.raises(HandlerError, match="twice"):
        await storage.append([(PIPE, [b"one"]), (PIPE, [b"two"])])
    assert await storage.pipes() == []


async def test_S2_a_step_has_no_more_tubes_than_the_limit_says(storage: Storage) -> None:
    limit = min(storage.limits.parts, 1_000)
    parts = [(f"app.jobs/Resize/{thread}/0", [b"x"]) for thread in range(limit)]
    assert await storage.append(parts) == limit
    if limit < storage.limits.parts:
        return
    with pytest.raises(HandlerError, match="too many"):
        await storage.append([*parts, ("app.jobs/Resize/one-more/0", [b"x"])])
    assert (await storage.backlog()).queued == limit


async def test_S2_a_call_with_absent_counts_over_all_its_tubes(storage: Storage) -> None:
    parts = [(f"app.jobs/Resize/{thread}/0", [b"a", b"b", b"a"]) for thread in range(4)]
    await storage.append([(parts[0][0], [b"a"]), (parts[1][0], [b"a", b"b"])])
    assert await storage.append(parts, absent=True) == 5
    assert [await contents(storage, pipe) for pipe, _ in parts] == [[b"a", b"b"]] * 4
    assert await storage.append(parts, absent=True) == 0


async def test_S2_an_empty_call_changes_nothing(storage: Storage) -> None:
    assert await storage.append([(PIPE, [])]) == 0

    assert await storage.pipes() == []
    assert (await storage.backlog()).accepted == 0
    assert await storage.wait(everything, 0) is None


# S51


async def test_S51_what_is_appended_at_once_is_all_there_or_nothing_is(storage: Storage) -> None:
    parts = [(f"app.jobs/Resize/{thread}/0", numbered(3)) for thread in range(4)]
    for _ in range(3):
        before = (await storage.backlog()).queued
        accepted = storage.append_at_once(parts)
        assert accepted in (0, 12)
        assert (await storage.backlog()).queued == before + accepted
        assert accepted or await storage.append(parts) == 12
    assert [await contents(storage, pipe) for pipe, _ in parts] == [numbered(3) * 3] * 4


@pytest.mark.requires("bounded")
async def test_S51_nothing_is_appended_at_once_without_room(open_backend: OpenBackend) -> None:
    storage = open_backend(MIB).storage
    await fill(storage)
    counts = await storage.backlog()
    assert storage.append_at_once([(PIPE, [CHUNK])]) == 0
    assert await storage.backlog() == counts


# S3


async def test_S3_messages_stay_when_a_holder_lets_go(storage: Storage, lock: Lock) -> None:
    messages = numbered(5)
    await storage.append([(PIPE, messages)])
    token = await claimed(lock)
    await hands.take(storage, [PIPE], 3, token)
    await lock.release(KEY)

    assert await contents(storage, PIPE) == messages
    token = await claimed(lock)
    assert (await hands.take(storage, [PIPE], 5, token)).messages == messages


@pytest.mark.requires("multiprocess")
async def test_S3_messages_outlive_the_process_that_appended_them(backend: Backend, driver: Driver, root: Path) -> None:
    async with peer(root, driver.name, backend.address, "append", PIPE, "one", "two") as producer:
        assert producer.said == "2"
        await producer.kill()

    assert await contents(backend.storage, PIPE) == [b"one", b"two"]
    assert await backend.storage.wait(everything, 0) == KEY


# S4


@pytest.mark.requires("bounded")
async def test_S4_full_then_popped_then_it_fits_again(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())

    for _ in range(3):
        taken = await fill(storage)
        assert 0 < taken <= 16
        assert await storage.length(PIPE) == taken
        assert (await drain(storage, PIPE, token)).messages == [CHUNK] * taken


@pytest.mark.requires("bounded")
async def test_S4_a_full_storage_can_be_read_and_acknowledged(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    taken = await fill(storage)

    for left in range(taken, 0, -1):
        batch = await hands.take(storage, [PIPE], 1, token)
        assert batch.messages == [CHUNK]
        await hands.pop(storage, PIPE, batch.through, token)
        assert await storage.length(PIPE) == left - 1


@pytest.mark.requires("bounded")
async def test_S4_tubes_share_the_capacity(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await fill(storage)
    assert not await storage.append([(BESIDE, [CHUNK] * 4)])

    await drain(storage, PIPE, token)

    assert await storage.append([(BESIDE, [CHUNK] * 4)])


@pytest.mark.requires("bounded")
@pytest.mark.parametrize("messages", [[bytes(2 * MIB)], [CHUNK] * 32], ids=["one", "together"])
async def test_S4_what_can_never_fit_is_too_large(open_backend: OpenBackend, messages: list[bytes]) -> None:
    storage = open_backend(1 * MIB).storage

    with pytest.raises(MessageTooLarge):
        await storage.append([(PIPE, messages)])

    assert await storage.pipes() == []
    assert await storage.append([(PIPE, [b"small"])])


@pytest.mark.requires("bounded")
async def test_S4_too_large_stays_too_large_when_full(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    await fill(storage)

    with pytest.raises(MessageTooLarge):
        await storage.append([(OTHER, [bytes(2 * MIB)])])


# S5


async def test_S5_range_does_not_remove(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(3))])

    assert seen(await storage.range(PIPE, 2)) == seen(await storage.range(PIPE, 2))
    assert await storage.length(PIPE) == 3


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 8, 9, 100])
async def test_S5_range_goes_across_calls_up_to_its_limit(storage: Storage, limit: int) -> None:
    for start in (0, 3, 4):
        await storage.append([(PIPE, numbered(3 if start != 3 else 1, start))])
    messages = [*numbered(3), *numbered(1, 3), *numbered(3, 4)]

    batch = await storage.range(PIPE, limit)

    assert batch.messages == messages[:limit]
    assert batch.count == min(limit, 7)
    assert list(batch.numbers) == sorted(set(batch.numbers))
    assert (batch.sequence, batch.through) == (batch.numbers[0], batch.numbers[-1] + 1)
    assert batch.payload == b"".join(messages[:limit])


@pytest.mark.parametrize("limit", [0, 1, 100])
async def test_S5_an_unknown_tube_is_empty(storage: Storage, limit: int) -> None:
    batch = await storage.range(PIPE, limit)

    assert (batch.count, batch.messages, batch.payload) == (0, [], b"")


async def test_S5_a_drained_tube_is_empty(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    await drain(storage, PIPE, token)

    assert (await hands.take(storage, [PIPE], 10, token)).count == 0
    await lock.release(KEY)
    assert (await storage.range(PIPE, 10)).count == 0


async def test_S5_a_limit_of_nothing_gives_nothing(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(3))])

    assert (await storage.range(PIPE, 0)).count == 0


async def test_S5_empty_messages_are_messages(storage: Storage, lock: Lock) -> None:
    token = await claimed(lock)
    await storage.append([(PIPE, [b""])])
    await storage.append([(PIPE, [b"", b"full", b""])])

    batch = await hands.take(storage, [PIPE], 10, token)
    assert batch.messages == [b"", b"", b"full", b""]
    assert [end - batch.base for end in batch.ends] == [0, 0, 4, 4]

    await hands.pop(storage, PIPE, batch.sequence + 1, token)
    assert await contents(storage, PIPE) == [b"", b"full", b""]


@pytest.mark.parametrize("size", [300 * 1024, 3 * MIB], ids=["300K", "3M"])
async def test_S5_large_messages_come_back_whole(storage: Storage, lock: Lock, size: int) -> None:
    token = await claimed(lock)
    large = bytes(range(256)) * (size // 256)

    for _ in range(5):
        assert await storage.append([(PIPE, [b"before", large, b"after"])])
        assert (await drain(storage, PIPE, token)).messages == [b"before", large, b"after"]

    assert await storage.length(PIPE) == 0


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_S5_range_reads_on_behind_a_message(storage: Storage, limit: int) -> None:
    for start in range(0, 40, 8):
        await storage.append([(PIPE, numbered(8, start)), (OTHER, numbered(8, start))])
    await storage.remove(PIPE, *numbered(5, 6))
    wanted = [*numbered(6), *numbered(29, 11)]

    found, others = list[bytes](), list[bytes]()
    after = other_after = None
    while (batch := await storage.range(PIPE, limit, after)).count:
        assert batch.count <= limit
        found, after = found + batch.messages, batch.through - 1
        other = await storage.range(OTHER, limit, other_after)  # one reading does not disturb the other
        others, other_after = others + other.messages, other.through - 1
        assert len(found) <= 35

    assert found == wanted
    assert others == numbered(len(others))
    assert (await storage.range(PIPE, limit, (after or 0) + 100)).count == 0


async def test_S5_range_reads_on_when_the_head_moved(storage: Storage, lock: Lock) -> None:
    for start in range(0, 20, 2):
        await storage.append([(PIPE, numbered(2, start))])
    token, part = await claimed(lock), await storage.range(PIPE, 5)
    part = await storage.range(PIPE, 3, part.through - 1)
    assert part.messages == numbered(3, 5)

    await hands.pop(storage, PIPE, part.sequence + 1, token)
    assert (await storage.range(PIPE, 2, part.through - 1)).messages == numbered(2, 8)
    more = await storage.range(PIPE, 5, part.through - 1)
    await hands.pop(storage, PIPE, more.through, token)
    assert (await storage.range(PIPE, 2, more.numbers[1])).messages == numbered(2, 13)

    await drain(storage, PIPE, token)
    await storage.append([(PIPE, [b"new"])])
    assert (await storage.range(PIPE, 2, more.through)).messages == [b"new"]


# S6


async def test_S6_numbers_grow(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(3))])
    first = await storage.range(PIPE, 10)
    await storage.append([(PIPE, numbered(2))])
    both = await storage.range(PIPE, 10)

    assert first.through == first.sequence + 3
    assert list(both.numbers[:3]) == list(first.numbers)
    assert both.numbers[3] >= first.through
    assert both.through == both.numbers[3] + 2


async def test_S6_a_message_keeps_its_number(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(5))])
    token = await claimed(lock)
    first = (await storage.range(PIPE, 5)).sequence

    await hands.pop(storage, PIPE, first + 2, token)
    assert (await storage.range(PIPE, 5)).sequence == first + 2
    await storage.remove(PIPE, b"message-2", b"message-3")
    last = await storage.range(PIPE, 5)
    assert (last.sequence, last.through) == (first + 4, first + 5)


async def test_S6_numbers_go_on_after_the_tube_ran_empty(storage: Storage, lock: Lock) -> None:
    token = await claimed(lock)
    through = 0
    for _ in range(5):
        await storage.append([(PIPE, numbered(3))])
        batch = await drain(storage, PIPE, token)
        assert batch.sequence >= through
        through = batch.through


async def test_S6_numbers_go_on_after_the_thread_was_let_go(storage: Storage, lock: Lock) -> None:
    through = dict.fromkeys([PIPE, f"{KEY}/1", OTHER], 0)
    for round_ in range(4):
        for pipe in through:
            await storage.append([(pipe, numbered(3 + round_))])
        for key in (KEY, OTHER_KEY):
            token = await claimed(lock, key)
            for pipe in through:
                if pipe.startswith(key):
                    batch = await drain(storage, pipe, token)
                    assert batch.count == 3 + round_
                    assert batch.sequence >= through[pipe]
                    through[pipe] = batch.through
            await lock.release(key)


async def test_S6_numbers_of_removed_messages_are_not_used_again(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(3))])
    through = (await storage.range(PIPE, 3)).through
    assert await storage.remove(PIPE, *numbered(3)) == 3

    await storage.append([(PIPE, [b"next"])])

    assert (await storage.range(PIPE, 1)).sequence >= through


# S7


async def test_S7_pop_removes_what_is_below(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(4))])
    await storage.append([(PIPE, numbered(4, 4))])
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 8, token)

    for popped in (1, 3, 5, 8):
        await hands.pop(storage, PIPE, batch.through_first(popped), token)
        assert await contents(storage, PIPE) == numbered(8 - popped, popped)


async def test_S7_popping_again_changes_nothing(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(5))])
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 2, token)

    for _ in range(3):
        await hands.pop(storage, PIPE, batch.through, token)
        assert await contents(storage, PIPE) == numbered(3, 2)
        assert await storage.backlog() == Counts(5, 2)


async def test_S7_popping_a_drained_tube_again_spares_what_came_later(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2))])
    token = await claimed(lock)
    batch = await drain(storage, PIPE, token)
    await storage.append([(PIPE, numbered(2, 2))])

    await hands.pop(storage, PIPE, batch.through, token)

    assert await contents(storage, PIPE) == numbered(2, 2)


async def test_S7_popping_nothing_is_fine(storage: Storage, lock: Lock) -> None:
    token = await claimed(lock)
    await hands.pop(storage, PIPE, 10, token)
    await storage.append([(PIPE, numbered(2))])
    await hands.pop(storage, PIPE, 0, token)

    assert await contents(storage, PIPE) == numbered(2)


# S8


async def test_S8_a_token_of_before_is_refused(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2))])
    late = await claimed(lock)
    through = (await hands.take(storage, [PIPE], 2, late)).through
    await lock.release(KEY)

    with pytest.raises(FencedError):
        await hands.pop(storage, PIPE, through, late)
    current = await claimed(lock)
    with pytest.raises(FencedError):
        await hands.pop(storage, PIPE, through, late)

    assert await contents(storage, PIPE) == numbered(2)
    await hands.pop(storage, PIPE, through, current)
    assert await storage.length(PIPE) == 0


async def test_S8_reading_with_a_token_of_before_is_refused(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2))])
    late = await claimed(lock)
    await lock.release(KEY)

    with pytest.raises(FencedError):
        await hands.take(storage, [PIPE], 2, late)


async def test_S8_a_token_of_another_thread_is_refused(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2))])
    await claimed(lock)
    other = await claimed(lock, OTHER_KEY)
    through = (await storage.range(PIPE, 2)).through

    with pytest.raises(FencedError):
        await hands.pop(storage, PIPE, through, other)

    assert await storage.length(PIPE) == 2


@pytest.mark.parametrize("token", [0, 4711])
async def test_S8_without_a_claim_every_token_is_refused(storage: Storage, token: int) -> None:
    await storage.append([(PIPE, numbered(2))])
    through = (await storage.range(PIPE, 2)).through

    with pytest.raises(FencedError):
        await hands.pop(storage, PIPE, through, token)

    assert await storage.length(PIPE) == 2


async def test_S8_one_token_serves_all_priorities_of_its_thread(storage: Storage, lock: Lock) -> None:
    token = await claimed(lock)
    for priority in range(3):
        pipe = f"{KEY}/{priority}"
        await storage.append([(pipe, numbered(2))])
        await drain(storage, pipe, token)

    assert await storage.pipes() == []


# S9


async def test_S9_length_contains_and_pipes_follow_the_tubes(storage: Storage, lock: Lock) -> None:
    assert await storage.pipes() == []
    assert await storage.length(PIPE) == 0
    assert not await storage.contains(PIPE, b"message-0")

    await storage.append([(PIPE, numbered(2))])
    await storage.append([(PIPE, numbered(1, 2))])
    await storage.append([(OTHER, [b"elsewhere"])])

    assert sorted(await storage.pipes()) == sorted([PIPE, OTHER])
    assert await storage.length(PIPE) == 3
    assert await storage.length(OTHER) == 1
    assert await storage.contains(PIPE, b"message-2")
    assert not await storage.contains(PIPE, b"elsewhere")

    token = await claimed(lock)
    await hands.pop(storage, PIPE, (await storage.range(PIPE, 1)).through, token)
    assert await storage.length(PIPE) == 2
    assert not await storage.contains(PIPE, b"message-0")

    await drain(storage, PIPE, token)
    assert await storage.pipes() == [OTHER]
    assert await storage.length(PIPE) == 0


async def test_S9_contains_finds_whole_messages_only(storage: Storage) -> None:
    await storage.append([(PIPE, [b"ab", b"cd"])])

    assert await storage.contains(PIPE, b"cd")
    assert not await storage.contains(PIPE, b"bc")
    assert not await storage.contains(PIPE, b"a")
    assert not await storage.contains(PIPE, b"")
    await storage.append([(PIPE, [b""])])
    assert await storage.contains(PIPE, b"")


async def test_S9_one_thread_lists_all_its_tubes(storage: Storage) -> None:
    pipes = [f"{KEY}/{priority}" for priority in (0, 1, 10)]
    for pipe in pipes:
        await storage.append([(pipe, [b"message"])])

    assert sorted([pipe async for pipe in each(storage.pipes)]) == sorted(pipes)


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_S9_pages_list_each_tube_once(storage: Storage, limit: int) -> None:
    pipes = [f"app.jobs/Many/{thread}/0" for thread in range(50)]
    for pipe in pipes:
        await storage.append([(pipe, [b"message"])])

    listed, page = list[str](), await storage.pipes(limit=limit)
    while page.after is not None:
        assert len(page) <= limit
        listed += page
        page = await storage.pipes(page.after, limit)

    assert sorted([*listed, *page]) == sorted(pipes)


async def test_S9_what_stays_is_listed_whatever_goes_and_comes_between_pages(storage: Storage, lock: Lock) -> None:
    pipes = {f"app.jobs/Many/{thread}/0" for thread in range(50)}
    for pipe in pipes:
        await storage.append([(pipe, [b"message"])])
    first = await storage.pipes(limit=20)

    gone = {*first[::2], *sorted(pipes.difference(first))[::3]}
    for pipe in gone:
        assert await storage.remove(pipe, b"message") == 1
    for thread in range(50, 70):
        await storage.append([(f"app.jobs/Many/{thread}/0", [b"message"])])

    rest = {pipe async for pipe in each(lambda after: storage.pipes(after or first.after, 7))}
    assert pipes - gone <= rest.union(first)
    assert not gone.difference(first) & rest


# S10


async def test_S10_equal_messages_go_wherever_they_stand(storage: Storage) -> None:
    await storage.append([(PIPE, [b"x", b"a", b"x"])])
    await storage.append([(PIPE, [b"x"])])
    await storage.append([(PIPE, [b"b", b"x", b"y", b"c", b"x"])])

    assert await storage.remove(PIPE, b"x", b"y", b"not there") == 6

    assert await contents(storage, PIPE) == [b"a", b"b", b"c"]
    assert await storage.length(PIPE) == 3
    assert not await storage.contains(PIPE, b"x")
    assert await storage.remove(PIPE, b"x") == 0


async def test_S10_acknowledging_goes_on_over_the_gaps(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"x", b"a", b"x", b"b", b"x", b"c"])])
    first = (await storage.range(PIPE, 1)).sequence
    await storage.remove(PIPE, b"x")
    token = await claimed(lock)

    batch = await hands.take(storage, [PIPE], 2, token)
    assert (batch.sequence, batch.through) == (first + 1, first + 4)
    assert batch.messages == [b"a", b"b"]
    await hands.pop(storage, PIPE, batch.through, token)

    assert await contents(storage, PIPE) == [b"c"]
    assert await storage.backlog() == Counts(6, 5)


async def test_S10_what_is_handed_out_stays(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"x", b"a", b"x"])])
    await storage.append([(PIPE, [b"x", b"b", b"x"])])
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 2, token)

    assert await storage.remove(PIPE, b"x") == 3

    assert await contents(storage, PIPE) == [b"x", b"a", b"b"]
    await hands.pop(storage, PIPE, batch.through, token)
    assert await contents(storage, PIPE) == [b"b"]


async def test_S10_what_was_looked_at_without_a_token_is_not_handed_out(storage: Storage) -> None:
    await storage.append([(PIPE, [b"x", b"a"])])
    await storage.range(PIPE, 2)

    assert await storage.remove(PIPE, b"x") == 1


async def test_S10_what_was_let_go_can_be_removed_again(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"x", b"a"])])
    token = await claimed(lock)
    await hands.take(storage, [PIPE], 2, token)
    await lock.release(KEY)

    assert await storage.remove(PIPE, b"x") == 1
    assert await contents(storage, PIPE) == [b"a"]


async def test_S10_a_smaller_look_does_not_take_back_what_is_in_hand(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"a", b"x", b"x"])])
    token = await claimed(lock)
    await hands.take(storage, [PIPE], 2, token)
    await hands.take(storage, [PIPE], 1, token)

    assert await storage.remove(PIPE, b"x") == 1
    assert await contents(storage, PIPE) == [b"a", b"x"]


async def test_S10_an_unknown_tube_has_nothing_to_remove(storage: Storage) -> None:
    assert await storage.remove(PIPE, b"x") == 0
    await storage.append([(PIPE, [b"a"])])
    assert await storage.remove(PIPE) == 0


async def test_S10_a_tube_emptied_by_removal_is_not_offered(storage: Storage) -> None:
    await storage.append([(PIPE, [b"x", b"x"])])
    assert await storage.remove(PIPE, b"x") == 2

    assert await storage.pipes() == []
    assert await storage.wait(everything, 0) is None


# S11


@pytest.mark.requires("immediate")
async def test_S11_wait_does_not_suspend_where_there_is_work(storage: Storage) -> None:
    await storage.append([(PIPE, [b"message"])])

    assert without_suspending(storage.wait(everything)) == KEY


async def test_S11_wait_returns_none_after_its_timeout(storage: Storage) -> None:
    started = time.monotonic()

    assert await storage.wait(everything, NEVER_S) is None

    assert time.monotonic() - started >= NEVER_S * 0.9
    assert await storage.wait(everything, 0) is None


async def test_S11_wait_is_woken_by_an_append(storage: Storage) -> None:
    waiting = await suspended(storage.wait(everything))

    await storage.append([(PIPE, [b"message"])])

    assert await finished(waiting) == KEY


async def test_S11_wait_is_woken_by_an_append_of_another_thread(storage: Storage) -> None:
    waiting = await suspended(storage.wait(everything))

    assert await in_thread(lambda: storage.append([(PIPE, [b"message"])]))

    assert await finished(waiting) == KEY


async def test_S11_waits_on_other_loops_are_woken(storage: Storage) -> None:
    here = asyncio.get_running_loop()
    keys = [f"app.jobs/Resize{number}/0" for number in range(3)]
    asleep = {key: asyncio.Event() for key in keys}

    async def serve(own: str) -> str | None:
        waiting = await suspended(storage.wait(frozenset({split_key(own)[0]})))
        here.call_soon_threadsafe(asleep[own].set)
        return await finished(waiting)

    serving = [asyncio.create_task(in_thread(partial(serve, key))) for key in keys]
    for key in keys:
        await asleep[key].wait()
    for key in keys:
        await storage.append([(f"{key}/0", [b"message"])])

    assert [await finished(task) for task in serving] == keys


@pytest.mark.requires("multiprocess")
async def test_S11_wait_is_woken_by_an_append_of_another_process(backend: Backend, driver: Driver, root: Path) -> None:
    waiting = await suspended(backend.storage.wait(everything))

    async with peer(root, driver.name, backend.address, "append", PIPE, "message"):
        assert await finished(waiting) == KEY


async def test_S11_wait_returns_only_what_the_caller_serves(storage: Storage) -> None:
    await storage.append([(PIPE, [b"message"])])
    waiting = await suspended(storage.wait(frozenset({split_key(OTHER_KEY)[0]})))

    await storage.append([("app.jobs/Resize/9/0", [b"message"])])
    await storage.append([(OTHER, [b"message"])])

    assert await finished(waiting) == OTHER_KEY


async def test_S11_wait_passes_over_what_is_claimed(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"message"])])
    await claimed(lock)
    assert await storage.wait(everything, 0) is None

    waiting = await suspended(storage.wait(everything))
    await storage.append([(PIPE, [b"another"])])
    await storage.append([(OTHER, [b"message"])])

    assert await finished(waiting) == OTHER_KEY


async def test_S11_a_cancelled_wait_takes_no_wake_up_with_it(storage: Storage) -> None:
    first = await suspended(storage.wait(everything))
    second = await suspended(storage.wait(everything))

    await storage.append([(PIPE, [b"message"])])
    await cancelled(first)

    assert await finished(second) == KEY


# S12


async def test_S12_wait_goes_round(storage: Storage) -> None:
    keys = [f"app.jobs/Resize/{thread}" for thread in range(5)]
    for key in keys:
        await storage.append([(f"{key}/0", [b"message"])])

    first = [await storage.wait(everything, 0) for _ in keys]
    again = [await storage.wait(everything, 0) for _ in keys]

    assert sorted(map(str, first)) == keys
    assert sorted(map(str, again)) == keys


async def test_S12_a_hot_thread_does_not_hide_another(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(100))])
    await storage.append([(OTHER, numbered(100))])

    served = []
    for _ in range(6):
        key = await storage.wait(everything, 0)
        assert key is not None
        token = await claimed(lock, key)
        await hands.pop(storage, f"{key}/0", (await hands.take(storage, [f"{key}/0"], 1, token)).through, token)
        await storage.append([(f"{key}/0", [b"more"])])
        await lock.release(key)
        served.append(key)

    assert all(earlier != later for earlier, later in pairwise(served))


async def test_S12_two_waiters_and_two_ready_threads_get_one_each(storage: Storage) -> None:
    waiting = [await suspended(storage.wait(everything)) for _ in range(2)]

    await storage.append([(PIPE, [b"message"])])
    await storage.append([(OTHER, [b"message"])])

    assert {await finished(task) for task in waiting} == {KEY, OTHER_KEY}


# S13


async def test_S13_a_bound_thread_that_has_messages_is_returned(storage: Storage, lock: Lock) -> None:
    await claimed(lock)
    assert await storage.wait(everything, 0, bound=KEY) is None

    await storage.append([(PIPE, [b"message"])])

    assert await storage.wait(everything, 0, bound=KEY) == KEY
    assert await storage.wait(everything, 0) is None


async def test_S13_the_bound_thread_comes_before_others(storage: Storage, lock: Lock) -> None:
    await claimed(lock)
    await storage.append([(OTHER, [b"message"])])
    await storage.append([(PIPE, [b"message"])])

    assert await storage.wait(everything, 0, bound=KEY) == KEY
    assert await storage.wait(everything, 0) == OTHER_KEY


async def test_S13_a_wait_is_woken_by_messages_for_its_bound_thread(storage: Storage, lock: Lock) -> None:
    token = await claimed(lock)
    for _ in range(3):
        waiting = await suspended(storage.wait(everything, bound=KEY))
        await storage.append([(f"{KEY}/1", [b"message"])])
        assert await finished(waiting) == KEY
        await drain(storage, f"{KEY}/1", token)


async def test_S13_a_bound_wait_also_returns_other_threads(storage: Storage, lock: Lock) -> None:
    await claimed(lock)
    waiting = await suspended(storage.wait(everything, bound=KEY))

    await storage.append([(OTHER, [b"message"])])

    assert await finished(waiting) == OTHER_KEY


async def test_S13_a_bound_wait_of_one_is_not_offered_to_another(storage: Storage, lock: Lock) -> None:
    await claimed(lock)
    bound = await suspended(storage.wait(everything, bound=KEY))
    free = await suspended(storage.wait(everything))

    await storage.append([(PIPE, [b"message"])])
    assert await finished(bound) == KEY
    assert not free.done()

    await storage.append([(OTHER, [b"message"])])
    assert await finished(free) == OTHER_KEY


# S14


async def test_S14_with_room_it_appends_at_once(storage: Storage) -> None:
    assert await storage.append_when_room([(PIPE, numbered(3))], 0)
    assert await storage.append_when_room([(PIPE, numbered(3, 3))])

    assert await contents(storage, PIPE) == numbered(6)


@pytest.mark.requires("bounded")
async def test_S14_it_appends_when_messages_leave(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await fill(storage)
    waiting = await suspended(storage.append_when_room([(BESIDE, [CHUNK, b"last"])]))

    await in_thread(lambda: drain(storage, PIPE, token))

    assert await finished(waiting)
    assert await contents(storage, BESIDE) == [CHUNK, b"last"]


@pytest.mark.requires("bounded")
async def test_S14_it_appends_when_messages_are_removed(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    await fill(storage)
    waiting = await suspended(storage.append_when_room([(BESIDE, [CHUNK])]))

    assert await storage.remove(PIPE, CHUNK)

    assert await finished(waiting)


@pytest.mark.requires("bounded")
async def test_S14_every_producer_gets_room_in_the_end(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, lock = backend.storage, backend.new_lock()
    await fill(storage)
    pipes = sharing(PIPE, "app.jobs/Resize", 3)
    half = [CHUNK] * 7
    waiting = [await suspended(storage.append_when_room([(pipe, half)])) for pipe in pipes]

    await drain(storage, PIPE, await claimed(lock))
    for _ in pipes:
        key = await storage.wait(everything, LIMIT_S)
        assert key is not None
        assert (await drain(storage, f"{key}/0", await claimed(lock, key))).messages == half

    assert [await finished(task) for task in waiting] == [7] * 3


@pytest.mark.requires("bounded")
async def test_S14_a_cancelled_producer_takes_no_room_with_it(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await fill(storage)
    first = await suspended(storage.append_when_room([(BESIDE, [b"first", CHUNK])]))
    second = await suspended(storage.append_when_room([(BESIDE, [b"second", CHUNK])]))

    await cancelled(first)
    await drain(storage, PIPE, token)

    assert await finished(second)
    assert await contents(storage, BESIDE) == [b"second", CHUNK]


@pytest.mark.requires("bounded")
async def test_S14_after_its_timeout_nothing_is_stored(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    taken = await fill(storage)
    started = time.monotonic()

    assert not await storage.append_when_room([(PIPE, [CHUNK])], NEVER_S)

    assert time.monotonic() - started >= NEVER_S * 0.9
    assert not await storage.append_when_room([(BESIDE, [CHUNK])], 0)
    assert await storage.length(PIPE) == taken
    assert await storage.pipes() == [PIPE]


@pytest.mark.requires("bounded")
async def test_S14_no_producer_waits_for_what_can_never_fit(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    await fill(storage)

    with pytest.raises(MessageTooLarge):
        await storage.append_when_room([(OTHER, [bytes(2 * MIB)])])


# S15


async def test_S15_backlog_counts_what_is_queued_accepted_and_handled(storage: Storage, lock: Lock) -> None:
    assert await storage.backlog() == Counts(0, 0)
    await storage.append([(PIPE, numbered(5))])
    await storage.append([(OTHER, numbered(2))])
    assert await storage.backlog() == Counts(7, 0)

    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 3, token)
    assert await storage.backlog() == Counts(7, 0)
    await hands.pop(storage, PIPE, batch.through, token)
    assert await storage.backlog() == Counts(7, 3)

    await storage.remove(OTHER, b"message-0")
    assert await storage.backlog() == Counts(7, 4)


async def test_S15_replies_are_counted_apart_from_requests(storage: Storage, lock: Lock) -> None:
    token, inbox = await claimed(lock, inbox_key(7)), inbox_pipe(7)
    await storage.append([(PIPE, numbered(5)), (inbox, numbered(3))])
    counts = await storage.backlog()
    assert (counts.accepted, counts.handled, counts.queued) == (5, 0, 8)
    assert (counts.replies, counts.replies_taken) == (3, 0)

    batch = await hands.take(storage, [inbox], 2, token)
    await hands.pop(storage, inbox, batch.through, token)
    await storage.remove(inbox, b"message-2")
    await storage.remove(PIPE, b"message-0")
    assert await storage.backlog() == Counts(5, 1, replies=3, replies_taken=3)


async def test_S15_backlog_is_never_empty_while_messages_move_on(storage: Storage, lock: Lock) -> None:
    tokens = {PIPE: await claimed(lock), OTHER: await claimed(lock, OTHER_KEY)}
    await storage.append([(PIPE, [b"message"])])

    async def pass_to_and_fro() -> None:
        for _ in range(300):
            for here, there in ((PIPE, OTHER), (OTHER, PIPE)):
                await storage.append([(there, [b"message"])])
                await drain(storage, here, tokens[here])

    moving = asyncio.create_task(in_thread(pass_to_and_fro))
    while not moving.done():
        look = await storage.backlog()
        assert look.queued in (1, 2)
        assert look.accepted == look.queued + look.handled
        await asyncio.wait({moving}, timeout=0)

    await moving
    assert await storage.backlog() == Counts(601, 600)


# S16


async def test_S16_an_empty_storage_is_quiet(storage: Storage) -> None:
    assert await storage.wait_for_quiet(0)
    assert await storage.wait_for_quiet()


async def test_S16_quiet_comes_with_the_last_acknowledgement(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2))])
    token = await claimed(lock)
    waiting = [await suspended(storage.wait_for_quiet()) for _ in range(2)]

    batch = await hands.take(storage, [PIPE], 1, token)
    await hands.pop(storage, PIPE, batch.through, token)
    await asyncio.wait(waiting, timeout=0)
    assert not any(task.done() for task in waiting)

    await in_thread(lambda: drain(storage, PIPE, token))
    assert [await finished(task) for task in waiting] == [True, True]


async def test_S16_quiet_comes_with_the_last_removal(storage: Storage) -> None:
    await storage.append([(PIPE, [b"x", b"x"])])
    waiting = await suspended(storage.wait_for_quiet())

    await storage.remove(PIPE, b"x")

    assert await finished(waiting)


async def test_S16_a_handed_out_message_is_not_quiet(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"message"])])
    await hands.take(storage, [PIPE], 1, await claimed(lock))

    assert not await storage.wait_for_quiet(NEVER_S)
    assert not await storage.wait_for_quiet(0)


# S17


@pytest.mark.requires("bounded")
@pytest.mark.parametrize("capacity_bytes", [256 << 10, MIB, 8 * MIB])
async def test_S17_the_largest_message_fits_the_empty_storage(open_backend: OpenBackend, capacity_bytes: int) -> None:
    storage = open_backend(capacity_bytes).storage
    most = storage.limits.message_bytes
    assert 8192 < most < capacity_bytes
    assert storage.limits.nbytes <= most

    with pytest.raises(MessageTooLarge):
        await storage.append([(PIPE, [bytes(most + MIB)])])
    assert await storage.pipes() == []
    assert await storage.append([(PIPE, [bytes(most)])]) == 1


@pytest.mark.requires("bounded")
@pytest.mark.parametrize("capacity_bytes", [256 << 10, MIB])
async def test_S17_each_step_fits_the_empty_storage(open_backend: OpenBackend, capacity_bytes: int) -> None:
    storage = open_backend(capacity_bytes).storage
    limits = storage.limits
    count = min(limits.messages, 4096)
    size = (limits.nbytes - limits.part_bytes) // count

    assert await storage.append([(PIPE, [bytes(size)] * count)]) == count


async def test_S17_the_name_of_a_thread_is_no_longer_than_it_may_be(storage: Storage) -> None:
    most = min(storage.limits.key_bytes, 100_000)
    longest = f"m/H/{'1' * (most - 4)}"

    assert await storage.append([(f"{longest}/0", [b"x"])]) == 1
    if most == storage.limits.key_bytes:
        for key in (f"{longest}1", f"{longest[:-1]}\u00e4"):
            with pytest.raises(HandlerError):
                await storage.append([(f"{key}/0", [b"x"])])
    assert await storage.pipes() == [f"{longest}/0"]


# S33

TERMS = {"app.jobs/Resize": Terms((0, 1), 2), "app.jobs/Crop": Terms((0,), 10)}
BOTH = frozenset(TERMS)


def handed(hand: Hand | None) -> tuple[str, list[bytes]] | None:
    return hand and (hand.key, hand.batch.messages)


async def test_S33_without_a_hand_the_next_thread_is_claimed_and_handed_out(storage: Storage) -> None:
    assert await storage.turn(None, BOTH, TERMS) is None
    await storage.append([(PIPE, numbered(3)), (OTHER, numbered(1))])

    hands = [await storage.turn(None, BOTH, TERMS) for _ in range(2)]
    assert sorted(map(handed, hands), key=str) == [(OTHER_KEY, numbered(1)), (KEY, numbered(2))]
    assert await storage.claimed(KEY)
    assert await storage.claimed(OTHER_KEY)
    assert await storage.turn(None, BOTH, TERMS) is None


async def test_S33_a_thread_with_more_is_gone_on_with(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(5)), (OTHER, numbered(1))])
    first = await storage.turn(None, frozenset({"app.jobs/Resize"}), TERMS)
    second = await storage.turn(first, BOTH, TERMS)

    assert handed(second) == (KEY, numbered(2, start=2))
    assert first is not None
    assert second is not None
    assert second.token == first.token
    assert await storage.length(PIPE) == 3
    assert (await storage.backlog()).handled == 2


async def test_S33_a_thread_without_more_is_released_for_the_next(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(2)), (OTHER, numbered(1))])
    first = await storage.turn(None, frozenset({"app.jobs/Resize"}), TERMS)
    second = await storage.turn(first, BOTH, TERMS)

    assert handed(second) == (OTHER_KEY, numbered(1))
    assert not await storage.claimed(KEY)
    assert await storage.claimed(OTHER_KEY)
    assert await storage.pipes() == [OTHER]


async def test_S33_where_nothing_is_ready_the_claim_stays(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(2))])
    first = await storage.turn(None, BOTH, TERMS)
    second = await storage.turn(first, BOTH, TERMS)

    assert handed(second) == (KEY, [])
    assert first is not None
    assert second is not None
    assert second.token == first.token
    assert await storage.claimed(KEY)
    assert await storage.length(PIPE) == 0


async def test_S33_without_stay_another_thread_comes_first(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(4)), (OTHER, numbered(1))])
    first = await storage.turn(None, frozenset({"app.jobs/Resize"}), TERMS)
    second = await storage.turn(first, BOTH, TERMS, stay=False)
    third = await storage.turn(second, BOTH, TERMS, stay=False)
    fourth = await storage.turn(third, BOTH, TERMS, stay=False)

    assert [handed(hand) for hand in (second, third, fourth)] == [
        (OTHER_KEY, numbered(1)),
        (KEY, numbered(2, start=2)),
        (KEY, []),
    ]


async def test_S33_without_stay_and_others_there_is_more_of_the_same(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(3))])
    first = await storage.turn(None, BOTH, TERMS)
    second = await storage.turn(first, BOTH, TERMS, stay=False)

    assert handed(second) == (KEY, numbered(1, start=2))
    assert first is not None
    assert second is not None
    assert second.token == first.token


async def test_S33_priorities_go_in_their_order(storage: Storage) -> None:
    await storage.append([(f"{KEY}/1", [b"late"]), (PIPE, [b"early"])])
    first = await storage.turn(None, BOTH, TERMS)
    second = await storage.turn(first, BOTH, TERMS)
    assert [handed(hand) for hand in (first, second)] == [(KEY, [b"early"]), (KEY, [b"late"])]


async def test_S33_of_a_handler_without_terms_nothing_is_handed_out(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(1))])
    hand = await storage.turn(None, BOTH, {})
    assert handed(hand) == (KEY, [])
    assert hand is not None
    assert (await hands.take(storage, [PIPE], 9, hand.token)).messages == numbered(1)


async def test_S33_with_no_worker_to_serve_the_thread_stays(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(3)), (OTHER, numbered(1))])
    hand = await storage.turn(None, frozenset({"app.jobs/Resize"}), TERMS)
    for messages in (numbered(1, start=2), []):
        hand = await storage.turn(hand, frozenset(), TERMS)
        assert handed(hand) == (KEY, messages)
    assert await storage.claimed(KEY)


async def test_S33_a_stale_hand_changes_nothing(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2)), (OTHER, numbered(1))])
    hand = await storage.turn(None, frozenset({"app.jobs/Resize"}), TERMS)
    assert hand is not None
    assert await storage.unclaim(KEY, hand.token)
    token = await claimed(lock)

    with pytest.raises(FencedError):
        await storage.turn(hand, BOTH, TERMS)

    assert await storage.length(PIPE) == 2
    assert not await storage.claimed(OTHER_KEY)
    assert (await hands.take(storage, [PIPE], 9, token)).messages == numbered(2)


async def test_S33_what_failed_before_is_said(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(1))])
    hand = await storage.turn(None, BOTH, TERMS)
    assert hand is not None
    assert (await hands.fail(storage, PIPE, hand.token)).attempts == 1
    assert await storage.unclaim(KEY, hand.token)

    again = await storage.turn(None, BOTH, TERMS)
    assert again is not None
    assert again.batch.failed is not None
    assert again.batch.failed.attempts == 1


async def test_S33_what_is_due_comes_first(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(1))], when=When(1))
    assert handed(await storage.turn(None, BOTH, TERMS)) == (KEY, numbered(1))


async def test_S33_a_thread_that_rests_is_not_claimed(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(1))])
    await claimed(lock)
    assert await lock.release(KEY, LIMIT_S)
    assert await storage.turn(None, BOTH, TERMS) is None


# S34


async def test_S34_what_is_there_is_handed_out_as_by_a_turn(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(3)), (OTHER, numbered(1))])
    first = await storage.rest(None, frozenset({"app.jobs/Resize"}), TERMS)
    second = await storage.rest(first, BOTH, TERMS)
    third = await storage.rest(second, BOTH, TERMS)

    assert [handed(hand) for hand in (first, second, third)] == [
        (KEY, numbered(2)),
        (KEY, numbered(1, start=2)),
        (OTHER_KEY, numbered(1)),
    ]
    assert not await storage.claimed(KEY)


async def test_S34_without_stay_another_thread_comes_first(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(3)), (OTHER, numbered(1))])
    first = await storage.rest(None, frozenset({"app.jobs/Resize"}), TERMS)
    assert handed(await storage.rest(first, BOTH, TERMS, stay=False)) == (OTHER_KEY, numbered(1))


async def test_S34_it_sleeps_until_a_thread_is_ready(storage: Storage) -> None:
    resting = await suspended(storage.rest(None, BOTH, TERMS))
    await storage.append([("app.jobs/Unknown/1/0", numbered(1))])
    await asyncio.wait({resting}, timeout=0)
    assert not resting.done()

    await in_thread(lambda: storage.append([(PIPE, numbered(1))]))

    assert handed(await finished(resting)) == (KEY, numbered(1))
    assert await storage.claimed(KEY)


async def test_S34_it_acknowledges_before_it_sleeps(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(2))])
    first = await storage.rest(None, BOTH, TERMS)
    resting = await suspended(storage.rest(first, BOTH, TERMS))

    assert await storage.length(PIPE) == 0
    assert await storage.claimed(KEY)

    await storage.append([(PIPE, [b"more"])])
    second = await finished(resting)
    assert handed(second) == (KEY, [b"more"])
    assert first is not None
    assert second is not None
    assert second.token == first.token


async def test_S34_another_thread_ends_the_sleep_beside_a_bound_one(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(1))])
    first = await storage.rest(None, BOTH, TERMS)
    resting = await suspended(storage.rest(first, BOTH, TERMS))
    await storage.append([(OTHER, [b"other"])])

    assert handed(await finished(resting)) == (OTHER_KEY, [b"other"])
    assert not await storage.claimed(KEY)


async def test_S34_after_its_time_it_says_what_a_turn_says(storage: Storage) -> None:
    assert await storage.rest(None, BOTH, TERMS, 0) is None
    assert await storage.rest(None, BOTH, TERMS, NEVER_S / 10) is None
    await storage.append([(PIPE, numbered(1))])
    first = await storage.rest(None, BOTH, TERMS)

    second = await storage.rest(first, BOTH, TERMS, NEVER_S / 10)
    third = await storage.rest(second, BOTH, TERMS, 0)
    assert handed(second) == handed(third) == (KEY, [])
    assert await storage.length(PIPE) == 0
    assert await storage.claimed(KEY)


async def test_S34_cancelled_in_its_sleep_it_has_acknowledged_and_keeps_the_claim(storage: Storage) -> None:
    await storage.append([(PIPE, numbered(1))])
    first = await storage.rest(None, BOTH, TERMS)
    assert first is not None
    resting = await suspended(storage.rest(first, BOTH, TERMS))
    resting.cancel()
    await asyncio.wait({resting})
    assert resting.cancelled()

    await storage.append([(PIPE, [b"more"]), (OTHER, [b"other"])])
    assert (await hands.take(storage, [PIPE], 9, first.token)).messages == [b"more"]
    assert await storage.wait(BOTH, 0) == OTHER_KEY


async def test_S34_of_several_sleepers_each_gets_a_thread(storage: Storage) -> None:
    resting = [await suspended(storage.rest(None, BOTH, TERMS)) for _ in range(2)]
    await storage.append([(PIPE, numbered(1)), (OTHER, numbered(1))])

    hands = [await finished(one) for one in resting]
    assert sorted(map(handed, hands), key=str) == [(OTHER_KEY, numbered(1)), (KEY, numbered(1))]


async def test_S34_it_wakes_for_what_is_due_and_for_the_end_of_a_pause(storage: Storage, lock: Lock) -> None:
    resting = await suspended(storage.rest(None, BOTH, TERMS))
    await storage.append([(PIPE, numbered(1))], when=When(await now_us(storage) + 50_000))
    first = await finished(resting)
    assert handed(first) == (KEY, numbered(1))

    assert first is not None
    lock.adopt(KEY, first.token)
    assert await lock.release(KEY, 0.05)
    assert handed(await storage.rest(None, BOTH, TERMS)) == (KEY, numbered(1))


async def test_S34_a_stale_hand_changes_nothing(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2))])
    hand = await storage.rest(None, BOTH, TERMS)
    assert hand is not None
    assert await storage.unclaim(KEY, hand.token)
    await claimed(lock)

    for stale in (hand, hand._replace(batch=EMPTY)):
        with pytest.raises(FencedError):
            await storage.rest(stale, BOTH, TERMS)
    assert await storage.length(PIPE) == 2


@pytest.mark.requires("multiprocess")
async def test_S34_the_thread_of_a_killed_process_ends_the_sleep(
    storage: Storage, backend: Backend, driver: Driver, root: Path
) -> None:
    async with peer(root, driver.name, backend.address, "claim", KEY) as holder:
        await storage.append([(PIPE, numbered(1))])
        resting = await suspended(storage.rest(None, BOTH, TERMS))
        await holder.kill()

        assert handed(await finished(resting)) == (KEY, numbered(1))
