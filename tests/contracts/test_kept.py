"""Results that are kept: S38 of `shardq.protocols.Storage`, on every driver."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

from random import Random

import pytest

from shardq.errors import FencedError, MessageTooLarge
from shardq.model import KEPT_PIPE, Counts, Hand, Terms
from shardq.outputs import Output
from shardq.protocols import Lock, Storage
from tests.conftest import OpenBackend
from tests.contracts.test_storage import KEY, OTHER, PIPE, claimed, contents, numbered
from tests.support import hands
from tests.support.drivers import MIB

GRAVE = "app.jobs/Resize/dead/0"


async def held(storage: Storage, lock: Lock, count: int) -> Hand:
    """A hand with all messages of `PIPE` in it, so many."""
    assert await storage.append([(PIPE, numbered(count))])
    token = await claimed(lock)
    return Hand(KEY, token, await storage.take(KEY, token, Terms((0,), count)))


async def kept(storage: Storage, lock: Lock, *results: bytes) -> None:
    """Keep results, each in a step of its own."""
    hand = await held(storage, lock, len(results))
    for place, result in enumerate(results, 1):
        assert await storage.pop(hand, place, [Output(KEPT_PIPE, [result])])
    await lock.release(KEY)


async def test_S38_results_are_kept_with_the_acknowledgement(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock, 3)

    assert await storage.pop(hand, 2, [Output(KEPT_PIPE, [b"one", b"two"]), Output(OTHER, [b"other"])])
    turned = await storage.turn(hand, frozenset(), {}, outputs=[Output(KEPT_PIPE, [b"three"])])

    assert turned is not hand
    assert await contents(storage, KEPT_PIPE) == [b"one", b"two", b"three"]
    assert await contents(storage, OTHER) == [b"other"]


async def test_S38_what_is_kept_is_no_work(storage: Storage, lock: Lock) -> None:
    await kept(storage, lock, b"one", b"two")

    assert await storage.backlog() == Counts(2, 2)
    assert await storage.wait_for_quiet(0, deferred=True)
    assert list(await storage.pipes()) == []
    assert list(await storage.graves()) == []
    assert await storage.length(KEPT_PIPE) == 2
    assert await storage.wait(None, 0) is None


async def test_S38_nothing_is_kept_of_what_left_before_or_is_not_held(storage: Storage, lock: Lock) -> None:
    hand = await held(storage, lock, 1)
    assert await storage.pop(hand, 1)
    assert await storage.pop(hand, 1, [Output(KEPT_PIPE, [b"late"])])
    await lock.release(KEY)
    with pytest.raises(FencedError):
        await storage.pop(hand, 1, [Output(KEPT_PIPE, [b"late"])])

    assert await contents(storage, KEPT_PIPE) == []


async def test_S38_results_are_dropped_by_their_numbers(storage: Storage, lock: Lock) -> None:
    await kept(storage, lock, b"one", b"two", b"three")
    numbers = list((await storage.range(KEPT_PIPE, 9)).numbers)

    assert await storage.drop(KEPT_PIPE, numbers[1], numbers[1] + 99) == 1
    assert await contents(storage, KEPT_PIPE) == [b"one", b"three"]
    assert (await storage.range(KEPT_PIPE, 9, numbers[0])).messages == [b"three"]
    assert await storage.drop(KEPT_PIPE, *numbers) == 2
    assert await contents(storage, KEPT_PIPE) == []

    await kept(storage, lock, b"four")
    assert (await storage.range(KEPT_PIPE, 1)).sequence > numbers[-1]


async def test_S38_each_result_is_found_by_its_number(storage: Storage, lock: Lock) -> None:
    random, results = Random(1), numbered(400)
    await kept(storage, lock, *results)
    batch = await storage.range(KEPT_PIPE, 1_000)
    there = dict(zip(batch.numbers, batch.messages, strict=True))
    assert list(there.values()) == results

    for gone in random.sample(sorted(there), 40):
        assert await storage.drop(KEPT_PIPE, gone) == 1
        del there[gone]
        chosen = random.choice(sorted(there))
        assert (await storage.range(KEPT_PIPE, 1, chosen - 1)).messages == [there[chosen]]
        await storage.range(KEPT_PIPE, 10, random.choice(sorted(there)))
    storage.settings.results = 100
    await kept(storage, lock, b"another")
    left = await storage.range(KEPT_PIPE, 1_000)
    assert 50 < left.count <= 100
    for number, message in there.items():
        found = await storage.range(KEPT_PIPE, 1, number - 1)
        assert (found.sequence == number) == (number in left.numbers), number
        assert found.sequence != number or found.messages == [message]


async def test_S38_each_result_is_found_by_its_name(storage: Storage, lock: Lock) -> None:
    names = [b"%019d" % number for number in range(100)]
    await kept(storage, lock, *(name + b"result" for name in names), b"short")

    for name in names:
        found = await storage.kept(name)
        assert found.messages == [name + b"result"]
        assert (await storage.range(KEPT_PIPE, 1, found.sequence - 1)).sequence == found.sequence
    assert (await storage.kept(b"short")).messages == [b"short"]
    assert (await storage.kept(b"%019d" % 100)).count == 0
    assert await storage.drop(KEPT_PIPE, (await storage.kept(names[5])).sequence) == 1
    assert (await storage.kept(names[5])).count == 0
    storage.settings.results = 2
    assert (await storage.kept(names[6])).count == 0
    assert (await storage.kept(names[99])).count == 1
    storage.settings.results_age_s = 1e-9
    assert (await storage.kept(names[99])).count == 0


async def test_S38_the_latest_of_a_name_is_found(storage: Storage, lock: Lock) -> None:
    name = b"%019d" % 7
    await kept(storage, lock, name + b"first", name + b"second")
    assert (await storage.kept(name)).messages == [name + b"second"]

    storage.settings.results = 1
    await storage.drop(KEPT_PIPE)

    assert (await storage.kept(name)).messages == [name + b"second"]


async def test_S38_a_result_takes_the_place_of_older_ones_and_of_no_message(storage: Storage, lock: Lock) -> None:
    storage.settings.results = 3
    await kept(storage, lock, *numbered(3))
    hand = await held(storage, lock, 4)

    assert await storage.pop(hand, 4, [Output(KEPT_PIPE, numbered(4, start=3)), Output(OTHER, [b"other"])])

    assert (await contents(storage, KEPT_PIPE))[-1] == numbered(1, start=6)[0]
    assert await contents(storage, OTHER) == [b"other"]


async def test_S38_beyond_the_bound_the_oldest_go(storage: Storage, lock: Lock) -> None:
    storage.settings.results = 3

    await kept(storage, lock, *numbered(7))
    assert await contents(storage, KEPT_PIPE) == numbered(3, start=4)

    storage.settings.results = 2
    assert await storage.drop(KEPT_PIPE) == 0
    assert await contents(storage, KEPT_PIPE) == numbered(2, start=5)


async def test_S38_what_is_too_old_goes(storage: Storage, lock: Lock) -> None:
    await kept(storage, lock, *numbered(3))
    assert await storage.drop(KEPT_PIPE) == 0
    assert await contents(storage, KEPT_PIPE) == numbered(3)

    storage.settings.results_age_s = 1e-9
    await kept(storage, lock, b"young")
    assert (await contents(storage, KEPT_PIPE))[:1] == [b"young"]

    assert await storage.drop(KEPT_PIPE) == 0
    assert await contents(storage, KEPT_PIPE) == []
    assert await storage.backlog() == Counts(4, 4)


async def test_S38_they_have_nothing_to_do_with_dead_letters(storage: Storage, lock: Lock) -> None:
    await kept(storage, lock, b"one")
    await storage.append([(PIPE, numbered(1))])
    token = await claimed(lock)
    batch = await hands.take(storage, [PIPE], 1, token)
    assert await hands.bury(storage, PIPE, batch.sequence, token, GRAVE, b"letter")

    assert list(await storage.graves()) == [GRAVE]
    assert await storage.backlog() == Counts(2, 2, buried=1, dead=1)
    assert await contents(storage, KEPT_PIPE) == [b"one"]


@pytest.mark.requires("bounded")
async def test_S38_where_there_is_no_room_the_oldest_go(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    storage, lock = backend.storage, backend.new_lock()
    results = [bytes([n]) * 20_000 for n in range(10)]

    await kept(storage, lock, *results)

    left = await contents(storage, KEPT_PIPE)
    assert 0 < len(left) < 10
    assert left == results[-len(left) :]


@pytest.mark.requires("bounded")
async def test_S38_what_can_never_fit_is_refused(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    storage, lock = backend.storage, backend.new_lock()
    hand = await held(storage, lock, 1)

    with pytest.raises(MessageTooLarge):
        await storage.pop(hand, 1, [Output(KEPT_PIPE, [bytes(2 * MIB)])])

    assert await contents(storage, KEPT_PIPE) == []
    assert await contents(storage, PIPE) == numbered(1)


@pytest.mark.requires("bounded")
async def test_S38_what_can_never_fit_takes_no_room_with_what_was_sent_beside_it(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    storage, lock = backend.storage, backend.new_lock()
    hand = await held(storage, lock, 1)
    outputs = [Output(OTHER, [bytes(MIB // 8)]), Output(KEPT_PIPE, [bytes(2 * MIB)])]
    for _ in range(8):
        with pytest.raises(MessageTooLarge):
            await storage.pop(hand, 1, outputs)

    assert await storage.append([(OTHER, [bytes(MIB // 8)])]) == 1
    assert await storage.append([(OTHER, [bytes(MIB // 8)])]) == 1
    assert await contents(storage, PIPE) == numbered(1)
