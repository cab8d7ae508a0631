"""What leaves with an acknowledgement: S35 of `shardq.protocols.Storage`, on every driver and both event loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import asyncio

import pytest

from shardq.errors import FencedError, HandlerError
from shardq.model import EMPTY, Counts, Hand, Terms, When
from shardq.outputs import Output
from shardq.protocols import Lock, Storage
from tests.conftest import OpenBackend
from tests.contracts.kit.rooms import sharing
from tests.contracts.test_storage import (
    BESIDE,
    BOTH,
    CHUNK,
    KEY,
    OTHER,
    OTHER_KEY,
    PIPE,
    TERMS,
    claimed,
    contents,
    drain,
    fill,
    handed,
    numbered,
)
from tests.support.clock import now_us
from tests.support.drivers import MIB
from tests.support.tasks import finished, suspended, without_suspending

THIRD_KEY = "app.jobs/Fold/1"
THIRD = f"{THIRD_KEY}/0"
[FURTHER] = sharing(PIPE, "app.jobs/Fold", 1)
"""One that finds no room where `PIPE` and `BESIDE` find none."""
SENT = [Output(OTHER, [b"a", b"b"]), Output(THIRD, [b"c"])]


async def held(storage: Storage, lock: Lock, count: int = 3) -> Hand:
    """A hand with so many messages of `PIPE` in it, which has two more."""
    assert await storage.append([(PIPE, numbered(count + 2))])
    token = await claimed(lock)
    return Hand(KEY, token, await storage.take(KEY, token, Terms((0,), count)))


async def everywhere(storage: Storage) -> dict[str, list[bytes]]:
    return {pipe: await contents(storage, pipe) for pipe in await storage.pipes()}


async def test_S35_outputs_come_with_the_acknowledgement(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)

    assert await storage.pop(hand, 3, SENT)

    assert await everywhere(storage) == {PIPE: numbered(2, start=3), OTHER: [b"a", b"b"], THIRD: [b"c"]}
    assert await storage.backlog() == Counts(8, 3)


async def test_S35_each_part_of_a_batch_has_its_own_outputs(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)

    assert await storage.pop(hand, 1, [Output(OTHER, [b"one"])])
    assert await contents(storage, OTHER) == [b"one"]
    assert await storage.pop(hand, 3, [Output(OTHER, [b"two", b"three"])])

    assert await everywhere(storage) == {PIPE: numbered(2, start=3), OTHER: [b"one", b"two", b"three"]}


async def test_S35_without_outputs_it_says_that_it_acknowledged(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)

    assert await storage.pop(hand, 3)
    assert await storage.pop(hand, 3)
    assert await contents(storage, PIPE) == numbered(2, start=3)


async def test_S35_what_left_before_has_no_outputs(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    assert await storage.pop(hand, 3)

    assert await storage.pop(hand, 2, SENT)
    assert await storage.pop(hand, 3, SENT)
    assert handed(await storage.turn(hand, frozenset(), {}, outputs=SENT)) == (KEY, [])

    assert await everywhere(storage) == {PIPE: numbered(2, start=3)}


async def test_S35_an_empty_batch_has_no_outputs(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)

    assert await storage.pop(Hand(KEY, hand.token, EMPTY), 0, SENT)

    assert await everywhere(storage) == {PIPE: numbered(5)}


async def test_S35_outputs_come_in_their_order_behind_what_is_there(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    await storage.append([(OTHER, [b"before"])])

    await storage.pop(hand, 3, [Output(OTHER, [b"b", b"a"]), Output(PIPE, [b"own"]), Output(OTHER, [b"a", b"c"])])

    assert await everywhere(storage) == {
        PIPE: [*numbered(2, start=3), b"own"],
        OTHER: [b"before", b"b", b"a", b"a", b"c"],
    }


async def test_S35_many_outputs_that_are_looked_at_come_once_and_in_their_order(storage: Storage, lock: Lock) -> None:
    hand, many = await held(storage, lock), numbered(600)
    later, unique = When(after_us=10**10), Output(OTHER, [*many, *many], absent=True)

    outputs = [unique, Output(OTHER, [b"plain"]), Output(PIPE, many, later), Output(BESIDE, many, later)]
    assert await storage.pop(hand, 2, outputs)
    assert await storage.pop(hand, 3, [Output(OTHER, [b"last"])])

    assert await everywhere(storage) == {PIPE: numbered(2, start=3), OTHER: [*many, b"plain", b"last"]}
    assert (await storage.backlog()).deferred == 1200
    assert await storage.append([(PIPE, many)], absent=True) == 0


async def test_S35_an_output_into_the_own_tube_behind_the_last_message(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    await storage.pop(hand, 3)
    last = await storage.take(KEY, hand.token, Terms((0,), 9))

    assert await storage.pop(Hand(KEY, hand.token, last), 2, [Output(PIPE, [b"next"])])

    batch = await storage.take(KEY, hand.token, Terms((0,), 9))
    assert batch.messages == [b"next"]
    assert batch.sequence >= last.through


async def test_S35_a_stale_hand_sends_nothing(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    assert await lock.release(KEY)
    await claimed(lock)

    with pytest.raises(FencedError):
        await storage.pop(hand, 3, SENT)
    with pytest.raises(FencedError):
        await storage.turn(hand, BOTH, TERMS, outputs=SENT)

    assert await everywhere(storage) == {PIPE: numbered(5)}


async def test_S35_a_turn_sends_and_goes_on(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)

    more = await storage.turn(hand, BOTH, TERMS, outputs=SENT)

    assert handed(more) == (KEY, numbered(2, start=3))
    assert await everywhere(storage) == {PIPE: numbered(2, start=3), OTHER: [b"a", b"b"], THIRD: [b"c"]}


async def test_S35_a_turn_can_go_on_with_what_it_sent(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    assert await storage.turn(hand, frozenset(), TERMS)
    rest = Hand(KEY, hand.token, await storage.take(KEY, hand.token, Terms((0,), 9)))

    onward = await storage.turn(rest, BOTH, TERMS, outputs=SENT)

    assert handed(onward) == (OTHER_KEY, [b"a", b"b"])
    assert not await storage.claimed(KEY)


async def test_S35_outputs_wake_a_worker(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    waiting = await suspended(storage.wait(frozenset({"app.jobs/Crop"})))

    assert await storage.pop(hand, 3, SENT)

    assert await finished(waiting) == OTHER_KEY


async def test_S35_the_storage_is_not_quiet_when_a_batch_becomes_its_outputs(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    await storage.pop(hand, 3)
    rest = Hand(KEY, hand.token, await storage.take(KEY, hand.token, Terms((0,), 9)))
    quiet = await suspended(storage.wait_for_quiet())

    await storage.pop(rest, 2, [Output(OTHER, [b"a"])])

    for _ in range(3):
        await asyncio.sleep(0)
    assert not quiet.done()
    await drain(storage, OTHER, await claimed(lock, OTHER_KEY))
    assert await finished(quiet)


# When and absent


async def test_S35_outputs_can_wait_for_their_time(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    later = When(await now_us(storage) + 3600 * 10**6)

    assert await storage.pop(hand, 3, [Output(OTHER, [b"now"]), Output(OTHER, [b"later"], later)])

    assert await everywhere(storage) == {PIPE: numbered(2, start=3), OTHER: [b"now"]}
    assert await storage.backlog() == Counts(6, 3, deferred=1)
    assert await storage.promote() == later.due_us


async def test_S35_outputs_whose_time_is_over_come_at_once(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)

    await storage.pop(
        hand, 3, [Output(OTHER, [b"c"], When(3)), Output(OTHER, [b"a"], When(1)), Output(OTHER, [b"b"], When(2))]
    )

    assert sorted(await contents(storage, OTHER)) == [b"a", b"b", b"c"]
    assert await storage.backlog() == Counts(8, 3)


async def test_S35_a_span_begins_with_the_acknowledgement(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    before_us = await now_us(storage)

    await storage.pop(hand, 3, [Output(OTHER, [b"later"], When(after_us=10**12))])

    due_us = await storage.promote()
    assert due_us is not None
    assert before_us + 10**12 <= due_us <= await now_us(storage) + 10**12


async def test_S35_an_output_does_not_come_again_and_again(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    with pytest.raises(HandlerError):
        await storage.pop(hand, 3, [Output(OTHER, [b"again"], When(None, "every 60"))])
    assert await everywhere(storage) == {PIPE: numbered(5)}


async def test_S35_absent_outputs_have_no_equal(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    await storage.append([(OTHER, [b"queued"])])
    await storage.append([(OTHER, [b"deferred"])], when=When(await now_us(storage) + 3600 * 10**6))

    await storage.pop(
        hand,
        3,
        [
            Output(OTHER, [b"sent"]),
            Output(OTHER, [b"new", b"queued", b"deferred", b"sent", b"new"], absent=True),
            Output(OTHER, [b"new", b"newer"], When(await now_us(storage) + 3600 * 10**6), absent=True),
            Output(OTHER, [b"newer", b"newest"], absent=True),
        ],
    )

    assert await contents(storage, OTHER) == [b"queued", b"sent", b"new", b"newest"]
    assert await storage.backlog() == Counts(9, 3, deferred=2)


async def test_S35_the_batch_counts_as_in_hand_for_absent_outputs(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)

    assert await storage.pop(hand, 3, [Output(PIPE, [*numbered(6)], absent=True)])
    assert await contents(storage, PIPE) == numbered(3, start=3)
    assert await storage.append([(PIPE, numbered(3))], absent=True) == 3


async def test_S35_absent_outputs_that_are_all_there_only_acknowledge(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    await storage.append([(OTHER, [b"a"])])

    assert await storage.pop(hand, 3, [Output(OTHER, [b"a"], absent=True)])

    assert await everywhere(storage) == {PIPE: numbered(2, start=3), OTHER: [b"a"]}


async def test_S35_sent_messages_are_equals_for_others(storage: Storage, lock: Lock) -> None:
    await storage.append([(OTHER, [b"first"])], absent=True)
    hand = await held(storage, lock)
    await storage.pop(hand, 3, SENT)

    assert await storage.append([(OTHER, [b"a", b"c"])], absent=True) == 1
    assert await storage.remove(OTHER, b"a", b"b") == 2


async def test_S35_a_long_tube_is_looked_through_for_absent_outputs(storage: Storage, lock: Lock) -> None:
    await storage.append([(OTHER, numbered(3_000))])
    hand = await held(storage, lock)

    assert await storage.pop(hand, 3, [Output(OTHER, [b"message-2999", b"message-0", b"new"], absent=True)])

    assert await storage.length(OTHER) == 3_001


# Room


@pytest.mark.requires("bounded")
async def test_S35_without_room_nothing_changes(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    storage, lock = backend.storage, backend.new_lock()
    hand = await held(storage, lock)
    taken = await fill(storage, BESIDE)
    large = [Output(BESIDE, [CHUNK]), Output(FURTHER, [CHUNK], When(1))]
    before = await storage.backlog()

    assert not await storage.pop(hand, 3, large)
    assert not await storage.pop(hand, 1, large)
    assert await storage.turn(hand, BOTH, TERMS, outputs=large) is hand

    assert await storage.backlog() == before
    assert await contents(storage, PIPE) == numbered(5)
    assert await storage.length(BESIDE) == taken
    assert await storage.pop(hand, 3)


@pytest.mark.requires("bounded")
async def test_S35_small_outputs_find_room_in_a_full_storage(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    storage, lock = backend.storage, backend.new_lock()
    hand = await held(storage, lock)
    await fill(storage, OTHER)
    while await storage.append([(OTHER, [b"x" * 100])]):
        continue

    assert await storage.pop(hand, 3, [Output(THIRD, [b"small"])])
    assert await contents(storage, THIRD) == [b"small"]


@pytest.mark.requires("bounded")
async def test_S35_a_stage_that_hands_over_goes_on_where_one_that_multiplies_filled_its_room(
    open_backend: OpenBackend,
) -> None:
    backend = open_backend(MIB)
    storage, lock = backend.storage, backend.new_lock()
    hand = await held(storage, lock, 1)
    for size in (1024, 100, 10, 1):  # of larger ones each needs more room for the letter that it may become
        while await storage.append([(BESIDE, [b"x" * size] * 8)], follow_up=True):
            continue

    assert not await storage.pop(hand, 1, [Output(FURTHER, [b"a" * 2000, b"b" * 2000])])
    assert await storage.pop(hand, 1, [Output(FURTHER, [b"a" * 2000])])
    assert await contents(storage, FURTHER) == [b"a" * 2000]


@pytest.mark.requires("bounded")
async def test_S35_in_a_storage_full_of_threads_there_is_no_room(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    storage, lock = backend.storage, backend.new_lock()
    hand = await held(storage, lock, 500)
    sent = 0
    for number, pipe in enumerate(sharing(PIPE, "app.jobs/Fold", 500)):
        if not await storage.pop(hand, number + 1, [Output(pipe, [bytes(3_000)])]):
            break
        sent += 1
    else:
        raise AssertionError("never full")

    assert await storage.backlog() == Counts(502 + sent, sent)
    assert await storage.pop(hand, 500)


async def test_S35_one_message_may_be_larger_than_a_step(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    large = bytes(min(storage.limits.nbytes, MIB) + 1)

    assert await storage.pop(hand, 3, [Output(OTHER, [large])])

    assert await contents(storage, OTHER) == [large]


async def test_S35_outputs_keep_within_one_step(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    most = storage.limits.parts
    if most > 10_000:
        return
    step = [Output(f"app.jobs/Fold/{n % 200}/0", [b"%d" % n]) for n in range(most + 1)]

    with pytest.raises(HandlerError):
        await storage.pop(hand, 3, step)
    assert await storage.pop(hand, 3, step[:-1])

    assert await storage.backlog() == Counts(5 + most, 3)


async def test_S35_a_name_that_cannot_be_stored_sends_nothing(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    if storage.limits.key_bytes > 10_000:
        return
    with pytest.raises(HandlerError):
        await storage.pop(hand, 3, [*SENT, Output(f"app.jobs/{'x' * 10_000}/0/0", [b"x"])])
    assert await everywhere(storage) == {PIPE: numbered(5)}


@pytest.mark.requires("immediate")
async def test_S35_it_does_not_suspend(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock)
    assert without_suspending(storage.pop(hand, 3, SENT))
