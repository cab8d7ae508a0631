"""Paused handlers: S45 to S47 of `shardq.protocols.Pausable`, on every driver and both event loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import pytest

from shardq.errors import HandlerError, ScheduleError
from shardq.handler import drive
from shardq.model import EMPTY, INBOX, LONGEST_REASON_BYTES, MOST_PAUSES, Hand, Terms, When
from shardq.outputs import Output
from shardq.protocols import Lock, Storage
from tests.contracts.test_storage import KEY, OTHER, OTHER_KEY, PIPE, claimed, contents, everything, numbered
from tests.support.drivers import Backend, Driver
from tests.support.forked import Forked
from tests.support.tasks import LIMIT_S, finished, suspended

RESIZE, CROP = "app.jobs/Resize", "app.jobs/Crop"
SERVED = frozenset({RESIZE})
TERMS = {RESIZE: Terms((0,), 2), CROP: Terms((0,), 2)}
#: Long enough to lie down before it is over.
SOON = When(after_us=150_000)


@pytest.fixture
def without_net(storage: Storage) -> None:
    """No process looks again by itself: only that wakes it which was to wake it."""
    storage.settings.safety_net = 3600.0


async def test_S45_a_paused_handler_is_offered_to_no_worker(storage: Storage) -> None:
    await storage.pause(RESIZE)
    assert await storage.append([(PIPE, numbered(3)), (OTHER, numbered(1))]) == 4

    assert await storage.wait(SERVED, 0) is None
    assert await storage.turn(None, SERVED, TERMS) is None
    assert [await storage.wait(everything, 0) for _ in range(3)] == [OTHER_KEY] * 3
    assert await contents(storage, PIPE) == numbered(3)
    assert (await storage.backlog()).queued == 4


async def test_S45_handlers_that_are_not_paused_go_round(storage: Storage) -> None:
    keys = [f"{CROP}/{thread}" for thread in range(3)]
    assert await storage.append([(f"{key}/0", [b"crop"]) for key in keys] + [(PIPE, [b"resize"])])
    await storage.pause(RESIZE)

    assert sorted([str(await storage.wait(frozenset(TERMS), 0)) for _ in keys]) == keys


async def test_S45_many_threads_of_a_paused_handler_hide_no_other(storage: Storage) -> None:
    for start in range(0, 60, 20):
        assert await storage.append([(f"{RESIZE}/{thread}/0", [b"x"]) for thread in range(start, start + 20)])
    assert await storage.append([(OTHER, [b"crop"])])
    await storage.pause(RESIZE)

    assert await storage.wait(everything, 0) == OTHER_KEY


async def test_S45_what_is_in_hand_is_finished_and_the_rest_stays(storage: Storage, lock: Lock) -> None:
    assert await storage.append([(PIPE, numbered(5))])
    token = await claimed(lock)
    batch = await storage.take(KEY, token, TERMS[RESIZE])
    await storage.pause(RESIZE)

    assert await storage.pop(Hand(KEY, token, batch), 1, [Output(OTHER, [b"sent"])])
    hand = await storage.turn(Hand(KEY, token, batch), SERVED, TERMS)

    assert hand is not None
    assert (hand.key, hand.token, hand.batch.count) == (KEY, token, 0)
    assert (await storage.take(KEY, token, TERMS[RESIZE])).count == 0
    assert await storage.wait(SERVED, 0, bound=KEY) is None
    assert await contents(storage, PIPE) == numbered(3, 2)
    assert await contents(storage, OTHER) == [b"sent"]
    assert await lock.release(KEY)
    assert await storage.wait(SERVED, 0) is None


async def test_S45_what_is_in_hand_may_be_given_back(storage: Storage, lock: Lock) -> None:
    assert await storage.append([(PIPE, numbered(2))])
    token = await claimed(lock)
    batch = await storage.take(KEY, token, TERMS[RESIZE])
    await storage.pause(RESIZE)

    await storage.give_back(Hand(KEY, token, batch), 2)
    assert (await storage.take(KEY, token, TERMS[RESIZE])).count == 0
    assert await storage.resume(RESIZE)
    assert (await storage.take(KEY, token, TERMS[RESIZE])).messages == numbered(2)


async def test_S45_a_turn_leaves_a_paused_thread_for_another_one(storage: Storage, lock: Lock) -> None:
    assert await storage.append([(PIPE, numbered(4)), (OTHER, numbered(1))])
    token = await claimed(lock)
    batch = await storage.take(KEY, token, TERMS[RESIZE])
    await storage.pause(RESIZE)

    hand = await storage.turn(Hand(KEY, token, batch), everything, TERMS)

    assert hand is not None
    assert hand.key == OTHER_KEY


async def test_S45_requests_do_not_wake_a_worker_for_a_paused_handler(storage: Storage) -> None:
    await storage.pause(RESIZE)
    waiting = await suspended(storage.wait(everything))

    assert await storage.append([(PIPE, [b"paused"])])
    assert await storage.append([(OTHER, [b"served"])])

    assert await finished(waiting) == OTHER_KEY


@pytest.mark.usefixtures("without_net")
async def test_S45_resume_wakes_who_waits(storage: Storage) -> None:
    await storage.pause(RESIZE)
    assert await storage.append([(PIPE, [b"one"])])
    waiting = await suspended(storage.wait(SERVED))

    assert await storage.resume(RESIZE)

    assert await finished(waiting) == KEY
    assert not await storage.resume(RESIZE)


@pytest.mark.usefixtures("without_net")
async def test_S45_resume_wakes_who_rests(storage: Storage) -> None:
    await storage.pause(RESIZE)
    assert await storage.append([(PIPE, [b"one"])])
    resting = await suspended(storage.rest(None, SERVED, TERMS))

    assert await storage.resume(RESIZE)

    hand = await finished(resting)
    assert hand is not None
    assert (hand.key, hand.batch.messages) == (KEY, [b"one"])


@pytest.mark.usefixtures("without_net")
async def test_S45_resume_wakes_who_is_bound(storage: Storage, lock: Lock) -> None:
    assert await storage.append([(PIPE, [b"one"])])
    token = await claimed(lock)
    await storage.pause(RESIZE)
    resting = await suspended(storage.rest(Hand(KEY, token, EMPTY), SERVED, TERMS))

    assert await storage.append([(PIPE, [b"two"])])
    assert not resting.done()
    assert await storage.resume(RESIZE)

    hand = await finished(resting)
    assert hand is not None
    assert (hand.token, hand.batch.messages) == (token, [b"one", b"two"])


async def test_S46_a_pause_ends_by_itself(storage: Storage) -> None:
    assert await storage.append([(PIPE, [b"one"])])
    await storage.pause(RESIZE, SOON)

    assert await storage.wait(SERVED, LIMIT_S) == KEY
    assert await storage.pauses() == []


@pytest.mark.usefixtures("without_net")
async def test_S46_who_rests_already_wakes_when_a_pause_ends(storage: Storage) -> None:
    resting = await suspended(storage.rest(None, SERVED, TERMS))
    await storage.pause(RESIZE, SOON)
    assert await storage.append([(PIPE, [b"one"])])

    hand = await finished(resting)

    assert hand is not None
    assert hand.batch.messages == [b"one"]


@pytest.mark.usefixtures("without_net")
async def test_S46_who_is_bound_wakes_when_a_pause_ends(storage: Storage, lock: Lock) -> None:
    assert await storage.append([(PIPE, [b"one"])])
    token = await claimed(lock)
    await storage.pause(RESIZE, SOON)

    hand = await storage.rest(Hand(KEY, token, EMPTY), SERVED, TERMS, LIMIT_S)

    assert hand is not None
    assert hand.batch.messages == [b"one"]


async def test_S46_a_pause_until_a_time_that_is_over_is_none(storage: Storage) -> None:
    assert await storage.append([(PIPE, [b"one"])])

    await storage.pause(RESIZE, When(1_000_000))

    assert await storage.pauses() == []
    assert await storage.wait(SERVED, 0) == KEY


async def test_S46_a_pause_ends_within_a_hundred_years(storage: Storage) -> None:
    with pytest.raises(ScheduleError):
        await storage.pause(RESIZE, When(1 << 62))
    assert await storage.pauses() == []


async def test_S47_pauses_are_listed_by_handler(storage: Storage) -> None:
    await storage.pause(RESIZE, reason="the disk is full; mañana")
    await storage.pause(CROP, When(4_102_444_800_000_000))

    crop, resize = await storage.pauses()

    assert (crop.handler, crop.until_us, crop.reason) == (CROP, 4_102_444_800_000_000, "")
    assert (resize.handler, resize.until_us, resize.reason) == (RESIZE, None, "the disk is full; mañana")
    assert resize.since_us > 0


async def test_S47_another_pause_takes_the_place_of_the_former(storage: Storage) -> None:
    assert await storage.append([(PIPE, [b"one"])])
    for number in range(100):
        await storage.pause(RESIZE, reason=f"reason {number}")

    assert [pause.reason for pause in await storage.pauses()] == ["reason 99"]
    assert await storage.resume(RESIZE)
    assert await storage.wait(SERVED, 0) == KEY


@pytest.mark.requires("multiprocess")
async def test_S47_a_pause_outlives_who_asked_for_it(backend: Backend, driver: Driver) -> None:
    def pause() -> None:
        drive(driver.attach(backend.address).storage.pause(RESIZE, reason="why"))

    other = Forked(pause, [])
    assert other.wait() == 0
    assert await backend.storage.append([(PIPE, [b"one"])])

    assert [pause.reason for pause in await backend.storage.pauses()] == ["why"]
    assert await backend.storage.wait(SERVED, 0) is None


async def test_S47_handlers_need_not_be_known(storage: Storage) -> None:
    await storage.pause("app.other/Later")
    assert await storage.append([("app.other/Later/1/0", [b"x"]), (OTHER, [b"y"])])

    assert await storage.wait(everything, 0) == OTHER_KEY
    assert await storage.wait(frozenset({"app.other/Later"}), 0) is None


@pytest.mark.parametrize("handler", ["", "Resize", "/Resize", "app/", INBOX, "m/" + "x" * 255, "app/\ud800"])
async def test_S47_what_is_no_handler_is_refused(storage: Storage, handler: str) -> None:
    with pytest.raises(HandlerError):
        await storage.pause(handler)
    assert await storage.pauses() == []


@pytest.mark.parametrize("reason", ["x" * (LONGEST_REASON_BYTES + 1), "ä" * LONGEST_REASON_BYTES, "\udcff"])
async def test_S47_a_reason_that_is_too_long_or_no_text_is_refused(storage: Storage, reason: str) -> None:
    with pytest.raises(HandlerError):
        await storage.pause(RESIZE, reason=reason)
    assert await storage.pauses() == []


async def test_S47_a_pause_has_no_schedule(storage: Storage) -> None:
    with pytest.raises(HandlerError, match="one end"):
        await storage.pause(RESIZE, When(schedule="every 60"))


async def test_S47_so_many_handlers_can_be_paused(storage: Storage) -> None:
    for number in range(MOST_PAUSES):
        await storage.pause(f"app/H{number}", reason="x" * LONGEST_REASON_BYTES)

    with pytest.raises(HandlerError, match="resume one"):
        await storage.pause(RESIZE)
    await storage.pause("app/H7", reason="again")

    assert len(await storage.pauses()) == MOST_PAUSES
    assert await storage.resume("app/H7")
    await storage.pause(RESIZE)


async def test_S47_pauses_that_are_over_keep_no_other_from_being_paused(storage: Storage) -> None:
    for number in range(MOST_PAUSES):
        await storage.pause(f"app/H{number}", When(1_000_000))

    await storage.pause(RESIZE)

    assert [pause.handler for pause in await storage.pauses()] == [RESIZE]
