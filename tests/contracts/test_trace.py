"""The trace context in front of messages: S39 of `shardq.protocols.Storage`, on every driver and both event loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from shardq.model import Chunk, Hand, Place, Terms, When, dead_pipe
from shardq.model.trace import Trace
from shardq.outputs import Output
from shardq.pages import each
from shardq.protocols import Lock, Storage
from tests.contracts.test_storage import KEY, OTHER, PIPE, claimed, contents, drain
from tests.support import hands
from tests.support.clock import now_us
from tests.support.drivers import Backend

GRAVE = dead_pipe("app.jobs/Resize")
FAR_US = 10**10
MINUTELY, HOURLY = "every 60", "every 3600"
LONG = b"x" * 200
"""Longer than what a server keeps of a message to tell equal ones."""


def in_trace(number: int, message: bytes, *, state: str = "") -> bytes:
    """The message as it was sent in the trace of this number."""
    return Trace(bytes([number]) * 16, bytes([number]) * 8, 1, state).head + message


A, ALSO_A, B = in_trace(1, b"a"), in_trace(2, b"a", state="vendor=1"), in_trace(1, b"b")


async def in_time(storage: Storage, span_us: int, schedule: str = "") -> When:
    return When(await now_us(storage) + span_us, schedule)


async def in_hand(storage: Storage, lock: Lock, limit: int) -> Hand:
    token = await claimed(lock)
    return Hand(KEY, token, await storage.take(KEY, token, Terms((0,), limit)))


# Each keeps its own


async def test_S39_messages_come_with_the_contexts_they_were_sent_with(storage: Storage, lock: Lock) -> None:
    sent = [A, b"plain", ALSO_A, B, in_trace(3, b"")]
    assert await storage.append([(PIPE, sent), (OTHER, [A])]) == 6

    assert await contents(storage, OTHER) == [A]
    assert (await drain(storage, PIPE, await claimed(lock))).messages == sent


async def test_S39_what_failed_comes_again_with_its_context(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [A, ALSO_A, B])])
    token = await claimed(lock)
    for limit, taken in ((3, [A, ALSO_A, B]), (3, [A]), (3, [A])):
        assert (await hands.take(storage, [PIPE], limit, token)).messages == taken
        await hands.fail(storage, PIPE, token)
    await lock.release(KEY)

    token = await claimed(lock)
    for message in (A, ALSO_A, B):
        batch = await hands.take(storage, [PIPE], 3, token)
        assert batch.messages == [message]
        await storage.pop(Hand(KEY, token, batch), 1)


async def test_S39_what_was_given_back_comes_again_with_its_context(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [A, ALSO_A, B])])
    hand = await in_hand(storage, lock, 3)

    await storage.give_back(hand, 2)

    assert (await storage.take(KEY, hand.token, Terms((0,), 3))).messages == [A, ALSO_A]


async def test_S39_what_waits_for_its_time_comes_with_its_context(storage: Storage) -> None:
    await storage.append([(PIPE, [A, ALSO_A])], when=await in_time(storage, -1))
    await storage.promote()

    assert await contents(storage, PIPE) == [A, ALSO_A]


async def test_S39_what_comes_again_and_again_has_its_context(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [A])], when=await in_time(storage, -1, MINUTELY))
    await storage.promote()

    assert (await drain(storage, PIPE, await claimed(lock))).messages == [A]
    assert [scheduled.message for scheduled in await storage.scheduled()] == [A]


async def test_S39_outputs_have_their_contexts(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"first"])])
    hand = await in_hand(storage, lock, 1)
    outputs = [Output(OTHER, [A]), Output(OTHER, [B], await in_time(storage, -1))]

    assert await storage.turn(hand, frozenset(), {}, stay=False, outputs=outputs) is not hand

    await storage.promote()
    assert sorted(await contents(storage, OTHER)) == sorted([A, B])


async def test_S39_what_is_buried_and_requeued_has_its_context(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [A, B])])
    hand = await in_hand(storage, lock, 1)
    assert await storage.bury(hand, hand.batch.sequence, GRAVE, b"letter with " + hand.batch.messages[0])
    [number] = (await storage.range(GRAVE, 9)).numbers

    letter = (await storage.range(GRAVE, 1)).messages[0]
    assert await storage.requeue(GRAVE, number, PIPE, letter.removeprefix(b"letter with "), front=True)

    assert await contents(storage, PIPE) == [A, B]


@pytest.mark.requires("moves")
async def test_S39_what_moves_has_its_context(storage: Storage, backend: Backend) -> None:
    movable = backend.movable
    assert movable
    due_us = await now_us(storage) + FAR_US
    await movable.arrive(1, "shm://before")
    for number, place, message, more in (
        (0, Place.TUBE, A, {}),
        (1, Place.WAITING, B, {"due_us": due_us}),
        (2, Place.WAITING, ALSO_A, {"due_us": due_us, "schedule": HOURLY}),
    ):
        assert await movable.store(1, Chunk(number, place, PIPE, [message], **more))  # type: ignore[arg-type]

    tubes = [tube async for tube in each(movable.tubes)]
    assert [(await movable.read(tube, 9)).messages for tube in tubes] == [[A]]
    assert sorted([list(its.messages) async for its in each(movable.waiting)]) == sorted([[B], [ALSO_A]])


# They are equal


Stored = Callable[[Storage], Awaitable[object]]
PRESENT: dict[str, Stored] = {
    "by a plain call": lambda storage: storage.append([(PIPE, [A])]),
    "by a call for what is absent": lambda storage: storage.append([(PIPE, [A])], absent=True),
    "without a context": lambda storage: storage.append([(PIPE, [b"a"])]),
    "in front": lambda storage: hands.put_in_front(storage, PIPE, A),
}


@pytest.mark.parametrize("there", PRESENT)
@pytest.mark.parametrize("new", [A, ALSO_A, b"a"], ids=["same", "other", "none"])
async def test_S39_an_equal_in_the_tube_keeps_a_message_out(storage: Storage, there: str, new: bytes) -> None:
    await PRESENT[there](storage)
    before = await contents(storage, PIPE)

    assert await storage.append([(PIPE, [new, B])], absent=True) == 1

    assert await contents(storage, PIPE) == [*before, B]
    assert await storage.contains(PIPE, new)


@pytest.mark.parametrize("message", [b"", b"a", LONG], ids=["empty", "short", "long"])
async def test_S39_one_call_takes_an_equal_once(storage: Storage, message: bytes) -> None:
    first, *others = [in_trace(number, message) for number in (1, 2, 3)]

    assert await storage.append([(PIPE, [first, *others, message])], absent=True) == 1
    assert await storage.append([(PIPE, [message, *others])], absent=True) == 0

    assert await contents(storage, PIPE) == [first]


async def test_S39_what_was_acknowledged_is_absent(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [A, b"a", B])], absent=True)
    token = await claimed(lock)

    await drain(storage, PIPE, token)

    assert await storage.append([(PIPE, [ALSO_A, B])], absent=True) == 2


async def test_S39_what_waits_keeps_its_equals_out(storage: Storage) -> None:
    far = await in_time(storage, FAR_US)
    assert await storage.append([(PIPE, [A])], when=far, absent=True) == 1

    assert await storage.append([(PIPE, [ALSO_A, b"a", B])], absent=True) == 1
    assert await storage.append([(PIPE, [ALSO_A, b"a"])], when=far, absent=True) == 0


async def test_S39_outputs_are_absent_where_an_equal_is_there(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [b"first"]), (OTHER, [A])])
    hand = await in_hand(storage, lock, 1)
    outputs = [Output(OTHER, [ALSO_A, B], absent=True), Output(OTHER, [in_trace(3, b"b"), b"c"], absent=True)]

    assert await storage.pop(hand, 1, outputs)

    assert await contents(storage, OTHER) == [A, B, b"c"]


async def test_S39_equals_are_removed_wherever_they_are(storage: Storage) -> None:
    await hands.put_in_front(storage, PIPE, in_trace(5, b"a"))
    await storage.append([(PIPE, [A, B, b"a"])])
    await storage.append([(PIPE, [ALSO_A, B])], when=await in_time(storage, FAR_US))

    assert await storage.remove(PIPE, in_trace(4, b"a")) == 4

    assert await contents(storage, PIPE) == [B]
    assert (await storage.backlog()).deferred == 1
    assert await storage.append([(PIPE, [ALSO_A])], absent=True) == 1


async def test_S39_what_is_in_hand_stays_where_its_equals_are_removed(storage: Storage, lock: Lock) -> None:
    await storage.append([(PIPE, [A, B])])
    assert await storage.append([(PIPE, [b"x"])], absent=True) == 1
    await in_hand(storage, lock, 1)
    await storage.append([(PIPE, [ALSO_A])])

    assert await storage.remove(PIPE, b"a") == 1

    assert await storage.append([(PIPE, [in_trace(3, b"a")])], absent=True) == 0
    assert await contents(storage, PIPE) == [A, B, b"x"]


@pytest.mark.parametrize("message", [b"a", LONG], ids=["short", "long"])
async def test_S39_an_equal_message_gets_the_schedule(storage: Storage, message: bytes) -> None:
    first, second = in_trace(1, message), in_trace(2, message, state="vendor=" + "x" * 100)
    await storage.append([(PIPE, [first])], when=await in_time(storage, FAR_US, MINUTELY))

    assert await storage.append([(PIPE, [second])], when=await in_time(storage, FAR_US, HOURLY), absent=True) == 0
    assert await storage.append([(PIPE, [second])], when=await in_time(storage, FAR_US, HOURLY)) == 1

    [scheduled] = await storage.scheduled()
    assert (scheduled.message, scheduled.schedule) == (first, HOURLY)
    assert await storage.unschedule(PIPE, in_trace(3, message)) == 1
    assert (await storage.backlog()).recurrent == 0


async def test_S39_two_equals_of_one_call_are_one_with_a_schedule(storage: Storage) -> None:
    await storage.append([(PIPE, [A, ALSO_A, B])], when=await in_time(storage, FAR_US, HOURLY))

    assert [scheduled.message for scheduled in await storage.scheduled()] == [A, B]


@pytest.mark.parametrize(
    "message", [A[:4], A[:10], b"\xc1\x54\xff\xffa", b"\xc1\x54\x01\0a", b"\xc1\x56" + A[2:], b"\xc1", b"\xc1\x54"]
)
async def test_S39_what_only_begins_as_a_context_is_content(storage: Storage, message: bytes) -> None:
    assert await storage.append([(PIPE, [message, message + b"\0"])], absent=True) == 2

    assert await storage.append([(PIPE, [message])], absent=True) == 0
    assert await storage.remove(PIPE, message) == 1
    assert await contents(storage, PIPE) == [message + b"\0"]
