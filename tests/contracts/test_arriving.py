"""The clauses M5 to M7 of `shardq.protocols.Movable`, of a storage that content comes into."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import pytest

from shardq.errors import MoveRefused
from shardq.model import (
    INBOX,
    KEPT_PIPE,
    Chunk,
    Counts,
    Figures,
    Hand,
    Place,
    Standing,
    Terms,
    TubeState,
    When,
)
from shardq.pages import each
from shardq.protocols import Lock, Movable, Storage
from tests.conftest import OpenBackend
from tests.contracts.test_kept import kept
from tests.contracts.test_letters import GRAVE, buried
from tests.contracts.test_moving import ANOTHER, FROM, MOVE, TO
from tests.contracts.test_storage import KEY, OTHER, OTHER_KEY, PIPE, claimed, contents, everything, numbered
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.moving import letter, now_us
from tests.support.tasks import finished, suspended

pytestmark = pytest.mark.requires("moves")


def chunk(number: int, *messages: bytes, place: Place = Place.TUBE, pipe: str = PIPE, **more: object) -> Chunk:
    return Chunk(number, place, pipe, messages, **more)  # type: ignore[arg-type]


# M5


@pytest.mark.parametrize("what", ["queued", "deferred", "recurrent", "dead", "kept"])
async def test_M5_nothing_arrives_where_there_is_anything(
    storage: Storage, lock: Lock, movable: Movable, what: str
) -> None:
    if what == "dead":
        await buried(storage, lock, b"letter")
    elif what == "kept":
        await kept(storage, lock, b"result")
    else:
        when = {"queued": None, "deferred": When(now_us() + 10**10), "recurrent": When(schedule="every 60")}[what]
        await storage.append([(PIPE, numbered(1))], when=when)

    with pytest.raises(MoveRefused):
        await movable.arrive(MOVE, FROM)

    assert (await movable.stand()).standing is Standing.OPEN


async def test_M5_content_of_one_move_arrives_at_a_time(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await movable.arrive(MOVE, FROM)
    for refused in (movable.arrive(ANOTHER, FROM), movable.leave(ANOTHER, TO), movable.open(ANOTHER)):
        with pytest.raises(MoveRefused):
            await refused
    await movable.open(MOVE)
    with pytest.raises(MoveRefused):
        await movable.arrive(MOVE, FROM)

    await movable.arrive(ANOTHER, FROM)


async def test_M5_until_it_is_open_there_is_no_room_and_no_work(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    assert await movable.store(MOVE, chunk(0, *numbered(3)))
    assert await movable.store(MOVE, chunk(3, b"due", place=Place.WAITING, due_us=1))

    assert await storage.append([(OTHER, numbered(1))]) is None
    assert await storage.append([(OTHER, numbered(1))], when=When(now_us() + 10**10)) is None
    assert await storage.append([(OTHER, numbered(1))], when=When(schedule="every 60")) is None
    assert await storage.append_when_room([(OTHER, numbered(1))], 0) is None
    assert await storage.claim(KEY) == 0
    assert await storage.wait(everything, 0) is None
    assert await storage.turn(None, everything, {}) is None
    assert await storage.promote() is None
    assert await storage.remove(PIPE, b"message-0") == 0

    await movable.open(MOVE)
    assert await storage.wait(everything, 0) == KEY
    assert await contents(storage, PIPE) == [*numbered(3), b"due"]


@pytest.mark.parametrize("verb", ["wait", "rest", "append_when_room"])
async def test_M5_those_that_sleep_are_woken_when_it_is_open(storage: Storage, movable: Movable, verb: str) -> None:
    await movable.arrive(MOVE, FROM)
    sleeps = {
        "wait": lambda: storage.wait(everything),
        "rest": lambda: storage.rest(None, everything, {"app.jobs/Resize": Terms((0,), 9)}),
        "append_when_room": lambda: storage.append_when_room([(OTHER, numbered(1))]),
    }
    task = await suspended(sleeps[verb]())
    await movable.store(MOVE, chunk(0, *numbered(3)))
    await movable.open(MOVE)

    found = await finished(task)

    if verb == "rest":
        assert isinstance(found, Hand)
        assert found.batch.messages == numbered(3)
        await storage.unclaim(KEY, found.token)
    else:
        assert found == {"wait": KEY, "append_when_room": 1}[verb]


async def test_M5_a_storage_that_was_left_takes_content_again(storage: Storage, movable: Movable) -> None:
    await storage.append([(PIPE, numbered(3))])
    await movable.leave(MOVE, TO)
    await movable.hand_over(MOVE)
    with pytest.raises(MoveRefused):
        await movable.arrive(ANOTHER, FROM)
    await movable.forget(MOVE)

    await movable.arrive(ANOTHER, FROM)
    await movable.store(ANOTHER, chunk(0, b"back"))
    await movable.open(ANOTHER)

    await storage.check_stays()
    assert await contents(storage, PIPE) == [b"back"]


async def test_M5_what_came_by_a_cancelled_move_is_dropped(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await movable.store(MOVE, chunk(0, *numbered(3)))
    await movable.store(MOVE, chunk(3, b"later", place=Place.WAITING, due_us=now_us() + 10**10))
    await movable.store(MOVE, chunk(4, letter(PIPE, b"x"), place=Place.GRAVE, grave=GRAVE))
    await movable.store(MOVE, chunk(5, b"result", place=Place.GRAVE, pipe=KEPT_PIPE, grave=KEPT_PIPE))

    await movable.clear(ANOTHER)
    assert (await movable.stand()).standing is Standing.ARRIVING
    await movable.clear(MOVE)
    await movable.clear(MOVE)

    counts = await storage.backlog()
    assert (counts.queued, counts.deferred, counts.dead) == (0, 0, 0)
    assert await storage.length(KEPT_PIPE) == 0
    with pytest.raises(MoveRefused):
        await movable.store(MOVE, chunk(0, *numbered(3)))
    assert await storage.append([(PIPE, numbered(1))]) == 1


async def test_M5_replies_that_came_count_as_such_and_as_taken_once_dropped(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await movable.store(MOVE, chunk(0, *numbered(3), pipe=f"{INBOX}/5/0"))
    counts = await storage.backlog()
    assert (counts.replies - counts.replies_taken, counts.accepted - counts.handled) == (3, 0)

    await movable.clear(MOVE)

    counts = await storage.backlog()
    assert (counts.accepted, counts.replies) == (counts.handled, counts.replies_taken)


# M6


async def test_M6_a_chunk_is_stored_once(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    first, letters = chunk(0, *numbered(3)), chunk(4, letter(PIPE, b"x"), place=Place.GRAVE, grave=GRAVE)
    later = chunk(3, b"later", place=Place.WAITING, due_us=now_us() + 10**10)
    for each_chunk in (first, first, later, later, letters, letters):
        assert await movable.store(MOVE, each_chunk)
        assert await movable.stored(each_chunk) >= each_chunk.through

    assert await contents(storage, PIPE) == numbered(3)
    assert await contents(storage, GRAVE) == [letter(PIPE, b"x")]
    assert (await storage.backlog()).deferred == 1


async def test_M6_nothing_is_stored_without_room(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    movable, storage = backend.movable, backend.storage
    assert movable
    await movable.arrive(MOVE, FROM)
    message, number = bytes(32 * 1024), 0
    while await movable.store(MOVE, chunk(number, message)):
        number += 1

    assert 10 < number < 40
    assert await movable.stored(chunk(number, message)) == number
    assert await storage.length(PIPE) == number
    assert not await movable.store(MOVE, chunk(number, message, place=Place.WAITING, due_us=now_us() + 10**10))
    assert await storage.length(PIPE) == number


async def test_M6_what_was_known_of_a_tube_holds(
    storage: Storage, lock: Lock, movable: Movable, open_backend: OpenBackend
) -> None:
    """Failures and isolation, as the source says them, hold in the target, where a worker sees them."""
    target = open_backend()
    assert target.movable
    rests = now_us() + 3600 * 10**6
    source = await _failed(storage, lock, movable)
    await target.movable.arrive(MOVE, FROM)
    await target.movable.store(MOVE, chunk(0, *numbered(3), state=source))
    resting = TubeState(rests_until_us=rests)
    await target.movable.store(MOVE, chunk(3, *numbered(9), pipe=OTHER, state=resting._replace(at_most=2, isolated=5)))
    await target.movable.open(MOVE)

    assert await target.storage.wait(everything, 0) == KEY
    assert await target.storage.wait(frozenset({"app.jobs/Crop"}), 0) is None
    token = await target.storage.claim(KEY)
    batch = await hands.take(target.storage, [PIPE], 9, token)
    assert batch.count == 1
    assert batch.failed == source.failed
    other_token = await target.storage.claim(OTHER_KEY)
    left = 9
    while left > 4:
        taken = await hands.take(target.storage, [OTHER], 9, other_token)
        assert taken.count <= 2
        await hands.pop(target.storage, OTHER, taken.through, other_token)
        left -= taken.count
    assert (await hands.take(target.storage, [OTHER], 9, other_token)).count == left
    await target.storage.unclaim(KEY, token)
    await target.storage.unclaim(OTHER_KEY, other_token)


async def _failed(storage: Storage, lock: Lock, movable: Movable) -> TubeState:
    """What is known of a tube whose first message failed three times."""
    assert await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    for _ in range(3):
        await hands.take(storage, [PIPE], 1, token)
        await hands.fail(storage, PIPE, token)
    await lock.release(KEY)
    [tube] = [tube async for tube in each(movable.tubes)]
    return tube.state


async def test_M6_what_waits_comes_at_its_time_and_goes_on(storage: Storage, movable: Movable) -> None:
    due_us = now_us() - 5
    await movable.arrive(MOVE, FROM)
    await movable.store(MOVE, chunk(0, b"again", place=Place.WAITING, due_us=due_us, schedule="every 3600"))
    await movable.store(MOVE, chunk(1, b"once", b"twice", place=Place.WAITING, due_us=due_us))
    await movable.open(MOVE)

    await storage.promote()

    assert sorted(await contents(storage, PIPE)) == [b"again", b"once", b"twice"]
    [scheduled] = [its async for its in each(storage.scheduled)]
    assert scheduled.due_us == due_us + 3600 * 10**6
    assert await storage.append([(PIPE, [b"again"])], when=When(schedule="every 3600")) == 1
    assert len([its async for its in each(storage.scheduled)]) == 1


async def test_M6_results_are_kept_and_counted_as_nothing_else(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    for number, result in enumerate(numbered(3)):
        its = chunk(number, result, place=Place.GRAVE, pipe=f"{KEPT_PIPE}-{number}/0", grave=KEPT_PIPE)
        assert await movable.store(MOVE, its)
    await movable.settle(MOVE, 3, Figures(0, 0, 0))
    await movable.open(MOVE)

    assert sorted(await contents(storage, KEPT_PIPE)) == numbered(3)
    assert [(await storage.kept(result)).messages for result in numbered(3)] == [[result] for result in numbered(3)]
    assert await storage.backlog() == Counts(0, 0)


async def test_M6_equal_messages_are_known(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await movable.store(MOVE, chunk(0, *numbered(3)))
    await movable.store(MOVE, chunk(3, b"later", place=Place.WAITING, due_us=now_us() + 10**10))
    await movable.open(MOVE)

    assert await storage.append([(PIPE, [*numbered(3), b"later", b"new"])], absent=True) == 1


# M7


async def test_M7_figures_are_taken_over_once(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await movable.store(MOVE, chunk(0, letter(PIPE, b"x"), place=Place.GRAVE, grave=GRAVE))
    for _ in range(2):
        await movable.settle(MOVE, 1, Figures(token=10**6, buried=5, evicted=3))
    await movable.open(MOVE)

    counts = await storage.backlog()
    assert (counts.dead, counts.buried, counts.evicted) == (1, 6, 3)
    token = await storage.claim(KEY)
    assert token > 10**6
    await storage.unclaim(KEY, token)


async def test_M7_pauses_made_while_content_comes_stand_once_it_is_open(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await storage.pause("app.jobs/Resize", reason="why")
    assert await movable.store(MOVE, chunk(0, b"one"))
    await movable.settle(MOVE, 1, Figures(0, 0, 0))
    await movable.open(MOVE)

    assert [its.reason for its in await storage.pauses()] == ["why"]
    assert await storage.wait(everything, 0) is None
    await storage.resume("app.jobs/Resize")
    assert await storage.wait(everything, 0) == KEY


async def test_M7_pauses_made_while_content_comes_go_with_it(storage: Storage, movable: Movable) -> None:
    await movable.arrive(MOVE, FROM)
    await storage.pause("app.jobs/Resize")
    await movable.clear(MOVE)

    assert await storage.pauses() == []


async def test_M7_they_are_those_of_the_source(storage: Storage, lock: Lock, movable: Movable) -> None:
    await buried(storage, lock, b"letter-0", b"letter-1", b"letter-2")
    [first, *_] = (await storage.range(GRAVE, 9)).numbers
    await storage.drop(GRAVE, first)
    token = await claimed(lock)
    await lock.release(KEY)

    figures = await movable.figures()

    assert figures == Figures(token, 1, 0)
