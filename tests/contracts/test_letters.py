"""Dead letters: S20 to S23 of `shardq.protocols.Storage`, on every driver and both event loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from shardq.model import EMPTY, Counts, Hand, Terms, dead_pipe, key_of
from shardq.pages import each
from shardq.protocols import Lock, Storage
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
from tests.support.drivers import MIB
from tests.support.tasks import finished, in_thread, suspended

GRAVE = dead_pipe("app.jobs/Resize")
OTHER_GRAVE = dead_pipe("app.jobs/Crop")


async def bury_head(storage: Storage, token: int, letter: bytes = b"letter", grave: str = GRAVE) -> bool:
    """Take the message at the head and bury it."""
    batch = await hands.take(storage, [PIPE], 1, token)
    return await hands.bury(storage, PIPE, batch.sequence, token, grave, letter)


async def buried(storage: Storage, lock: Lock, *letters: bytes) -> list[int]:
    """Bury a message for each of the letters and leave the thread; returns where they lie in the grave."""
    await storage.append([(PIPE, numbered(len(letters)))])
    token = await claimed(lock)
    for letter in letters:
        assert await bury_head(storage, token, letter)
    await lock.release(KEY)
    return await places(storage)


async def places(storage: Storage, grave: str = GRAVE) -> list[int]:
    batch = await storage.range(grave, 1_000_000)
    return list(batch.sequences or range(batch.sequence, batch.through))


# S20


async def test_S20_a_buried_message_is_a_letter_instead(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)

    assert await bury_head(storage, token, b"letter")

    assert await contents(storage, PIPE) == numbered(2, 1)
    assert await contents(storage, GRAVE) == [b"letter"]
    assert await storage.backlog() == Counts(3, 1, buried=1, dead=1)


async def test_S20_burying_again_does_nothing(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    sequence = (await hands.take(storage, [PIPE], 1, token)).sequence

    for _ in range(3):
        assert await hands.bury(storage, PIPE, sequence, token, GRAVE, b"letter")

    assert await contents(storage, PIPE) == numbered(2, 1)
    assert await contents(storage, GRAVE) == [b"letter"]
    assert await storage.backlog() == Counts(3, 1, buried=1, dead=1)


async def test_S20_what_was_acknowledged_is_not_buried(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(2))])
    token = await claimed(lock)
    batch = await drain(storage, PIPE, token)

    await hands.bury(storage, PIPE, batch.sequence, token, GRAVE, b"letter")

    assert await storage.graves() == []
    assert await storage.backlog() == Counts(2, 2)


async def test_S20_what_is_not_at_the_head_is_not_buried(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 3, token)

    for sequence in (batch.sequence + 1, batch.sequence + 2, batch.through, batch.through + 7):
        await hands.bury(storage, PIPE, sequence, token, GRAVE, b"letter")

    assert await contents(storage, PIPE) == numbered(3)
    assert await storage.graves() == []
    assert await storage.backlog() == Counts(3, 0)


async def test_S20_of_an_unknown_tube_nothing_is_buried(storage: Storage, lock: Lock) -> None:
    token = await claimed(lock)

    await hands.bury(storage, PIPE, 1, token, GRAVE, b"letter")

    assert await storage.graves() == []
    assert await storage.backlog() == Counts(0, 0)


async def test_S20_the_others_of_a_batch_stay_in_hand(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 2, token)

    assert await hands.bury(storage, PIPE, batch.sequence, token, GRAVE, b"letter")

    assert await storage.remove(PIPE, *numbered(3)) == 1
    assert await contents(storage, PIPE) == [b"message-1"]
    assert (await hands.fail(storage, PIPE, token)).attempts == 1


async def test_S20_burying_goes_on_over_the_gaps(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"x", b"a", b"x", b"b", b"x"])])
    await storage.remove(PIPE, b"x")
    token = await claimed(lock)

    assert await bury_head(storage, token, b"letter of a")
    assert await contents(storage, PIPE) == [b"b"]
    assert await bury_head(storage, token, b"letter of b")

    assert await storage.pipes() == []
    assert await contents(storage, GRAVE) == [b"letter of a", b"letter of b"]
    assert await storage.backlog() == Counts(5, 5, buried=2, dead=2)


async def test_S20_failures_end_with_the_message_that_is_buried(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    await hands.take(storage, [PIPE], 1, token)
    assert (await hands.fail(storage, PIPE, token)).attempts == 1

    assert await bury_head(storage, token)

    batch = await hands.take(storage, [PIPE], 128, token)
    assert (batch.messages, batch.failed) == (numbered(2, 1), None)


async def test_S20_what_is_in_front_can_be_buried(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(1))])
    await hands.put_in_front(storage, PIPE, b"urgent")
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 1, token)

    assert await storage.bury(Hand(KEY, token, batch), batch.sequence, GRAVE, b"letter")

    assert await contents(storage, PIPE) == numbered(1)
    assert await contents(storage, GRAVE) == [b"letter"]


async def test_S20_a_letter_may_be_empty(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(1))])

    assert await bury_head(storage, await claimed(lock), b"")

    assert await contents(storage, GRAVE) == [b""]
    assert (await storage.backlog()).dead == 1


async def test_S20_quiet_comes_with_the_last_burial(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(1))])
    token = await claimed(lock)
    waiting = await suspended(storage.wait_for_quiet())

    assert await in_thread(lambda: bury_head(storage, token))

    assert await finished(waiting)


@pytest.mark.requires("bounded")
async def test_S20_a_full_storage_has_room_for_a_letter(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await storage.append([(PIPE, numbered(1))])
    taken = await fill(storage)
    assert not await storage.append([(PIPE, [CHUNK])])

    assert await bury_head(storage, token, bytes(8_000))

    assert await contents(storage, GRAVE) == [bytes(8_000)]
    assert await storage.length(PIPE) == taken


@pytest.mark.requires("bounded")
async def test_S20_all_of_a_full_storage_can_be_buried(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    while await storage.append([(PIPE, [b"%0500d" % number for number in range(40)])]):
        continue
    queued, buried = await storage.length(PIPE), list[int]()

    while (batch := await hands.take(storage, [PIPE], 8, token)).count:
        assert await hands.bury(storage, PIPE, batch.sequence, token, GRAVE, b"%750d" % batch.sequence)
        buried.append(batch.sequence)

    look = await storage.backlog()
    assert (look.queued, look.handled) == (0, queued)
    letters = [int(letter) for letter in await contents(storage, GRAVE)]
    assert 0 < look.dead == len(letters)
    assert letters == buried[-look.dead :]


@pytest.mark.requires("bounded")
async def test_S20_a_letter_with_a_large_message_has_room_in_a_full_storage(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    large = bytes(192 * 1024)
    for message in (large, CHUNK, bytes(1024)):
        while await storage.append([(PIPE, [message])]):
            continue

    assert await bury_head(storage, token, large + bytes(4096))

    assert await contents(storage, GRAVE) == [large + bytes(4096)]


@pytest.mark.requires("bounded")
async def test_S20_a_storage_full_of_threads_has_room_for_letters(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await storage.append([(PIPE, numbered(4))])
    for thread in range(100, 2_100):
        if not await storage.append([(f"app.jobs/Resize/{thread}/0", [b"message"])]):
            break

    for grave in (GRAVE, OTHER_GRAVE, GRAVE, OTHER_GRAVE):
        assert await bury_head(storage, token, b"letter", grave)

    assert sorted(await storage.graves()) == sorted([GRAVE, OTHER_GRAVE])


@pytest.mark.requires("bounded")
async def test_S20_a_burial_makes_room(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await fill(storage)
    waiting = await suspended(storage.append_when_room([(BESIDE, [CHUNK])]))

    await in_thread(lambda: bury_head(storage, token))
    await in_thread(lambda: bury_head(storage, token))

    assert await finished(waiting)


@pytest.mark.requires("bounded")
async def test_S20_a_letter_that_never_fits_is_refused(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await storage.append([(PIPE, numbered(2))])

    assert not await bury_head(storage, token, bytes(2 * MIB))

    assert await contents(storage, PIPE) == numbered(2)
    assert await storage.graves() == []
    assert await storage.backlog() == Counts(2, 0)


@pytest.mark.requires("bounded")
async def test_S20_a_refused_letter_leaves_the_others(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await storage.append([(PIPE, numbered(4))])
    for letter in (b"one", b"two"):
        assert await bury_head(storage, token, letter)

    assert not await bury_head(storage, token, bytes(2 * MIB))

    assert await contents(storage, GRAVE) == [b"one", b"two"]
    assert await contents(storage, PIPE) == numbered(2, 2)
    assert await storage.backlog() == Counts(4, 2, buried=2, dead=2)


# S21


async def test_S21_a_requeued_message_is_the_last_of_its_tube(storage: Storage, lock: Lock) -> None:
    [letter] = await buried(storage, lock, b"letter")
    await storage.append([(PIPE, numbered(2, 1))])

    assert await storage.requeue(GRAVE, letter, PIPE, b"again") is True

    assert await contents(storage, PIPE) == [*numbered(2, 1), b"again"]
    assert await storage.graves() == []
    assert await storage.backlog() == Counts(4, 1, buried=1)


async def test_S21_a_message_put_in_front_is_taken_first(storage: Storage, lock: Lock) -> None:
    first, second = await buried(storage, lock, b"first", b"second")
    await storage.append([(PIPE, numbered(2, 2))])

    for letter, message in ((first, b"message-0"), (second, b"message-1")):
        assert await storage.requeue(GRAVE, letter, PIPE, message, front=True)

    token = await claimed(lock)
    assert await storage.pipes() == [PIPE]
    assert await storage.length(PIPE) == 4
    assert await storage.contains(PIPE, b"message-1")
    assert await storage.contains(PIPE, b"message-2")
    batch = await hands.take(storage, [PIPE], 128, token)
    assert (batch.pipe, batch.messages) == (PIPE, numbered(2))
    await storage.pop(Hand(KEY, token, batch), batch.count)
    assert (await hands.take(storage, [PIPE], 128, token)).messages == numbered(2, 2)


async def test_S21_a_batch_in_hand_stays_when_others_are_put_in_front(storage: Storage, lock: Lock) -> None:
    [letter] = await buried(storage, lock, b"letter")
    await storage.append([(PIPE, numbered(4))])
    token = await claimed(lock)
    hand = Hand(KEY, token, await hands.take(storage, [PIPE], 2, token))

    assert await storage.requeue(GRAVE, letter, PIPE, b"urgent", front=True)

    await storage.pop(hand, 2)
    assert await contents(storage, PIPE) == [b"urgent", *numbered(2, 2)]


async def test_S21_all_that_is_in_front_alone_is_a_tube(storage: Storage, lock: Lock) -> None:
    [letter] = await buried(storage, lock, b"letter")
    await storage.requeue(GRAVE, letter, PIPE, b"urgent", front=True)

    assert await storage.pipes() == [PIPE]
    assert await storage.wait(everything, 0) == KEY
    token = await claimed(lock)
    hand = await storage.turn(Hand(KEY, token, EMPTY), everything, {"app.jobs/Resize": Terms((0,), 9)})
    assert hand is not None
    assert hand.batch.messages == [b"urgent"]
    last = await storage.turn(hand, everything, {"app.jobs/Resize": Terms((0,), 9)})

    assert last is not None
    assert last.batch.count == 0
    assert (await storage.pipes(), await storage.length(PIPE)) == ([], 0)


async def test_S21_what_is_in_front_is_numbered_apart(storage: Storage, lock: Lock) -> None:
    """So what is acknowledged in front takes nothing out of the tube."""
    await storage.append([(PIPE, numbered(9))])
    await hands.put_in_front(storage, PIPE, *numbered(3, 20))
    token = await claimed(lock)

    for left in range(2, -1, -1):
        batch = await hands.take(storage, [PIPE], 1, token)
        await storage.pop(Hand(KEY, token, batch), 1)
        assert await contents(storage, PIPE) == [*numbered(left, 23 - left), *numbered(9)]


async def test_S21_a_requeued_message_has_not_failed(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, numbered(1))])
    token = await claimed(lock)
    for _ in range(3):
        before = await hands.take(storage, [PIPE], 1, token)
        await hands.fail(storage, PIPE, token)
    await bury_head(storage, token)
    [letter] = await places(storage)

    assert await storage.requeue(GRAVE, letter, PIPE, b"message-0")

    batch = await hands.take(storage, [PIPE], 1, token)
    assert batch.failed is None
    assert batch.sequence >= before.through


async def test_S21_only_its_letter_leaves_with_a_requeued_message(storage: Storage, lock: Lock) -> None:
    letters = await buried(storage, lock, b"one", b"two", b"three")

    assert await storage.requeue(GRAVE, letters[1], PIPE, b"again")

    assert await contents(storage, GRAVE) == [b"one", b"three"]
    assert await places(storage) == [letters[0], letters[2]]
    assert await storage.backlog() == Counts(4, 3, buried=3, dead=2)


async def test_S21_a_letter_is_requeued_once(storage: Storage, lock: Lock) -> None:
    [letter] = await buried(storage, lock, b"letter")
    assert await storage.requeue(GRAVE, letter, PIPE, b"again")

    assert await storage.requeue(GRAVE, letter, PIPE, b"again") is None

    assert await contents(storage, PIPE) == [b"again"]
    assert await storage.backlog() == Counts(2, 1, buried=1)


async def test_S21_of_several_who_requeue_a_letter_one_does(storage: Storage, lock: Lock) -> None:
    letters = await buried(storage, lock, *numbered(20))

    for letter in letters:
        again = (in_thread(partial(storage.requeue, GRAVE, letter, PIPE, b"again")) for _ in range(3))
        assert sorted(map(str, await asyncio.gather(*again))) == ["None", "None", "True"]

    assert await contents(storage, PIPE) == [b"again"] * 20
    assert await storage.backlog() == Counts(40, 20, buried=20)


async def test_S21_a_letter_that_is_gone_is_not_requeued(storage: Storage, lock: Lock) -> None:
    letters = await buried(storage, lock, b"one", b"two", b"three")
    await storage.drop(GRAVE, letters[1])

    assert await storage.requeue(GRAVE, letters[1], PIPE, b"again") is None
    assert await storage.requeue(GRAVE, letters[2] + 1, PIPE, b"again") is None
    assert await storage.requeue(OTHER_GRAVE, letters[0], PIPE, b"again") is None

    assert await storage.pipes() == []
    assert await contents(storage, GRAVE) == [b"one", b"three"]


async def test_S21_numbers_of_letters_are_not_used_again(storage: Storage, lock: Lock) -> None:
    used: set[int] = set()
    for round_ in range(3):
        letters = await buried(storage, lock, *numbered(3, 3 * round_))
        assert not used & set(letters)
        used.update(letters)
        assert await storage.drop(GRAVE, *letters) == 3

    await buried(storage, lock, b"another")
    for number in used:
        assert await storage.requeue(GRAVE, number, PIPE, b"again") is None


@pytest.mark.requires("bounded")
async def test_S21_without_room_the_letter_stays(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, lock = backend.storage, backend.new_lock()
    [letter] = await buried(storage, lock, b"letter")
    taken = await fill(storage)

    for pipe in (PIPE, OTHER):
        assert await storage.requeue(GRAVE, letter, pipe, CHUNK) is False
        assert await storage.requeue(GRAVE, letter, pipe, CHUNK, front=True) is False

    assert await contents(storage, GRAVE) == [b"letter"]
    assert await storage.backlog() == Counts(taken + 1, 1, buried=1, dead=1)
    assert await storage.pipes() == [PIPE]

    await drain(storage, PIPE, await claimed(lock))
    assert await storage.requeue(GRAVE, letter, OTHER, CHUNK) is True
    assert await contents(storage, OTHER) == [CHUNK]


async def test_S21_a_requeued_message_wakes_who_waits(storage: Storage, lock: Lock) -> None:
    [letter] = await buried(storage, lock, b"letter")
    waiting = await suspended(storage.wait(everything))

    assert await in_thread(lambda: storage.requeue(GRAVE, letter, PIPE, b"again"))

    assert await finished(waiting) == KEY


@pytest.mark.parametrize("front", [False, True])
async def test_S21_a_requeued_message_wakes_who_is_bound_to_its_thread(
    storage: Storage, lock: Lock, front: bool
) -> None:
    [letter] = await buried(storage, lock, b"letter")
    token = await claimed(lock)
    waiting = await suspended(storage.wait(everything, bound=KEY))

    assert await storage.requeue(GRAVE, letter, PIPE, b"again", front=front)

    assert await finished(waiting) == KEY
    assert (await hands.take(storage, [PIPE], 1, token)).messages == [b"again"]


async def test_S21_a_requeued_message_is_not_quiet(storage: Storage, lock: Lock) -> None:
    [letter] = await buried(storage, lock, b"letter")
    await storage.requeue(GRAVE, letter, PIPE, b"again")
    waiting = await suspended(storage.wait_for_quiet())

    await drain(storage, PIPE, await claimed(lock))

    assert await finished(waiting)


async def test_S21_drop_counts_the_letters_there_were(storage: Storage, lock: Lock) -> None:
    letters = await buried(storage, lock, b"one", b"two", b"three", b"four")

    assert await storage.drop(GRAVE, letters[1], letters[1], letters[2], letters[3] + 1) == 2
    assert await storage.drop(GRAVE, letters[1]) == 0
    assert await storage.drop(GRAVE) == 0
    assert await storage.drop(OTHER_GRAVE, letters[0]) == 0

    assert await contents(storage, GRAVE) == [b"one", b"four"]
    assert await storage.backlog() == Counts(4, 4, buried=4, dead=2)


@pytest.mark.requires("bounded")
async def test_S21_dropped_letters_make_room(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, lock = backend.storage, backend.new_lock()
    [letter] = await buried(storage, lock, CHUNK)
    for pipe in (PIPE, BESIDE):
        await fill(storage, pipe)
    waiting = await suspended(storage.append_when_room([(BESIDE, [CHUNK])]))

    assert await in_thread(lambda: storage.drop(GRAVE, letter)) == 1

    assert await finished(waiting)
    assert (await storage.backlog()).dead == 0


@pytest.mark.requires("bounded")
async def test_S21_a_large_letter_that_is_requeued_makes_room(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, lock = backend.storage, backend.new_lock()
    [letter] = await buried(storage, lock, CHUNK[:-100])
    for pipe in (PIPE, BESIDE):
        await fill(storage, pipe)
    waiting = await suspended(storage.append_when_room([(BESIDE, [CHUNK[: 60 * 1024]])]))

    assert await in_thread(lambda: storage.requeue(GRAVE, letter, PIPE, b"small"))

    assert await finished(waiting)


# S22


async def test_S22_letters_are_offered_to_no_worker(storage: Storage, lock: Lock) -> None:
    waiting = await suspended(storage.wait(everything))
    await storage.append([(PIPE, numbered(1))])
    assert await finished(waiting) == KEY
    token = await claimed(lock)
    waiting = await suspended(storage.wait(everything))

    assert await bury_head(storage, token)
    await lock.release(KEY)

    assert await storage.wait(everything, 0) is None
    await asyncio.wait({waiting}, timeout=0)
    assert not waiting.done()
    await storage.append([(OTHER, [b"message"])])
    assert await finished(waiting) == OTHER_KEY


async def test_S22_letters_are_not_listed_and_not_waited_for(storage: Storage, lock: Lock) -> None:
    await buried(storage, lock, b"one", b"two")

    assert await storage.pipes() == []
    assert await storage.wait_for_quiet(0)
    assert await storage.backlog() == Counts(2, 2, buried=2, dead=2)


async def test_S22_letters_are_handed_out_to_no_worker(storage: Storage, lock: Lock) -> None:
    await buried(storage, lock, b"one", b"two")

    token = await lock.acquire(key_of(GRAVE))
    taken = await hands.take(storage, [GRAVE], 2, token) if token else EMPTY

    assert not taken.count
    assert await contents(storage, GRAVE) == [b"one", b"two"]
    assert await storage.backlog() == Counts(2, 2, buried=2, dead=2)


async def test_S22_only_graves_with_letters_are_listed(storage: Storage, lock: Lock) -> None:
    assert await storage.graves() == []
    await storage.append([(PIPE, numbered(2))])
    token = await claimed(lock)
    await bury_head(storage, token, b"here")
    await bury_head(storage, token, b"there", OTHER_GRAVE)

    assert sorted(await storage.graves()) == sorted([GRAVE, OTHER_GRAVE])
    await storage.drop(GRAVE, *await places(storage))

    assert await storage.graves() == [OTHER_GRAVE]
    assert await contents(storage, GRAVE) == []
    assert await contents(storage, OTHER_GRAVE) == [b"there"]


async def test_S22_letters_are_read_in_the_order_of_their_burial(storage: Storage, lock: Lock) -> None:
    letters = numbered(50)
    await buried(storage, lock, *letters)

    assert await contents(storage, GRAVE) == letters
    assert (await storage.range(GRAVE, 3)).messages == letters[:3]


async def test_S22_graves_are_listed_page_by_page(storage: Storage, lock: Lock) -> None:
    graves = [dead_pipe(f"app.jobs/Handler{number}") for number in range(10)]
    await storage.append([(PIPE, numbered(10))])
    token = await claimed(lock)
    for grave in graves:
        await bury_head(storage, token, b"letter", grave)

    first = await storage.graves(limit=4)
    await storage.drop(first[0], *await places(storage, first[0]))
    rest = [grave async for grave in each(lambda after: storage.graves(after or first.after, 4))]

    assert len(first) == 4
    assert sorted([*first, *rest]) == sorted(graves)


async def test_S22_letters_are_read_on_while_the_oldest_go(storage: Storage, lock: Lock) -> None:
    letters = numbered(20)
    numbers = await buried(storage, lock, *letters)
    first = await storage.range(GRAVE, 4)
    second = await storage.range(GRAVE, 4, first.through - 1)
    assert [*first.messages, *second.messages] == letters[:8]

    await storage.drop(GRAVE, *numbers[:10], numbers[12])

    assert (await storage.range(GRAVE, 4, second.through - 1)).messages == [*letters[10:12], *letters[13:15]]


@pytest.mark.parametrize("most", [1, 3])
async def test_S22_of_too_many_letters_the_oldest_go(storage: Storage, lock: Lock, most: int) -> None:
    storage.settings.dead_letters = most

    letters = numbered(10)
    await buried(storage, lock, *letters)

    assert await contents(storage, GRAVE) == letters[-most:]
    assert await storage.backlog() == Counts(10, 10, buried=10, dead=most, evicted=10 - most)


async def test_S22_letters_that_had_to_go_are_counted_and_told_of(
    storage: Storage, lock: Lock, caplog: pytest.LogCaptureFixture
) -> None:
    storage.settings.dead_letters = 3
    await buried(storage, lock, *numbered(3))
    assert (await storage.backlog()).evicted == 0
    assert caplog.records == []

    storage.settings.dead_letters = 2
    await buried(storage, lock, b"last")

    assert (await storage.backlog()).evicted == 2
    [record] = caplog.records
    assert (record.name, record.levelname, record.message) == (
        "shardq.storage",
        "WARNING",
        "dead letters dropped to make room",
    )
    assert (vars(record)["grave"], vars(record)["letters"]) == (GRAVE, 2)


async def test_S22_what_is_dropped_or_put_back_had_not_to_go(storage: Storage, lock: Lock) -> None:
    one, other, third = await buried(storage, lock, b"one", b"other", b"third")

    assert await storage.drop(GRAVE, one) == 1
    assert await storage.requeue(GRAVE, other, PIPE, b"message-1")
    assert await storage.drop(GRAVE, third, one) == 1

    assert await storage.backlog() == Counts(4, 3, buried=3)


@pytest.mark.requires("bounded")
async def test_S22_letters_that_had_to_go_for_lack_of_room_are_counted(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage = backend.storage
    await buried(storage, backend.new_lock(), *[bytes(30_000)] * 10)

    backlog = await storage.backlog()
    assert 0 < backlog.evicted == 10 - backlog.dead


async def test_S22_each_grave_has_so_many_letters(storage: Storage, lock: Lock) -> None:
    storage.settings.dead_letters = 2
    await storage.append([(PIPE, numbered(6))])
    token = await claimed(lock)
    for number in range(3):
        await bury_head(storage, token, b"here-%d" % number)
        await bury_head(storage, token, b"there-%d" % number, OTHER_GRAVE)

    assert await contents(storage, GRAVE) == [b"here-1", b"here-2"]
    assert await contents(storage, OTHER_GRAVE) == [b"there-1", b"there-2"]


async def test_S22_dropped_letters_are_not_among_too_many(storage: Storage, lock: Lock) -> None:
    storage.settings.dead_letters = 3
    letters = await buried(storage, lock, b"one", b"two", b"three")
    await storage.drop(GRAVE, letters[1])

    await buried(storage, lock, b"four")
    assert await contents(storage, GRAVE) == [b"one", b"three", b"four"]
    await buried(storage, lock, b"five")

    assert await contents(storage, GRAVE) == [b"three", b"four", b"five"]


async def test_S22_fewer_letters_may_be_asked_for_later(storage: Storage, lock: Lock) -> None:
    await buried(storage, lock, *numbered(5))

    storage.settings.dead_letters = 2
    await buried(storage, lock, b"last")

    assert await contents(storage, GRAVE) == [b"message-4", b"last"]
    assert (await storage.backlog()).dead == 2


# S23


@pytest.mark.requires("bounded")
async def test_S23_what_follows_up_has_room_where_others_have_none(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    await fill(storage)
    while await storage.append([(PIPE, [bytes(1024)])]):
        continue
    queued = await storage.length(PIPE)

    assert await storage.append([(PIPE, [bytes(1024)])], follow_up=True)
    assert await storage.append([(OTHER, numbered(10))], follow_up=True)

    assert not await storage.append([(PIPE, [bytes(8192)])])
    assert await storage.length(PIPE) == queued + 1
    assert await contents(storage, OTHER) == numbered(10)
    assert (await storage.backlog()).queued == queued + 11


@pytest.mark.requires("bounded")
async def test_S23_what_follows_up_leaves_room_for_letters(open_backend: OpenBackend) -> None:
    backend = open_backend(1 * MIB)
    storage, token = backend.storage, await claimed(backend.new_lock())
    await storage.append([(PIPE, numbered(10))])
    await fill(storage)
    for _ in range(1_000):
        if not await storage.append([(OTHER, [bytes(1024)])], follow_up=True):
            break
    else:
        pytest.fail("never full")

    for _ in range(5):
        assert await bury_head(storage, token, bytes(1000))

    assert await contents(storage, GRAVE) == [bytes(1000)] * 5


@pytest.mark.requires("bounded")
async def test_S23_a_refused_follow_up_leaves_nothing(open_backend: OpenBackend) -> None:
    storage = open_backend(1 * MIB).storage
    taken = await fill(storage)

    assert not await storage.append([(BESIDE, [b"small", CHUNK, CHUNK])], follow_up=True)

    assert await storage.pipes() == [PIPE]
    assert await storage.backlog() == Counts(taken, 0)
