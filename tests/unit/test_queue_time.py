"""Registering for later, again and again, and only what is not there; and taking it back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import DAILY, rrule

from shardq import DeferredHandler, Handler, Queue, RecurrentHandler, Route, Tube, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.errors import HandlerError, QueueFull, RequestError, ScheduleError
from shardq.handler import call
from shardq.settings import StorageSettings
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.ids import text_of
from tests.support.tasks import finished, suspended
from tests.unit.queue_handlers import AtOnce, Job, Later, Plain, Task, Threaded, jobs, stored

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PIPE = Tube(Plain, Route()).pipe
KEY = PIPE.rpartition("/")[0]


class Clock:
    """The storage's, which stands still until it is set."""

    def __init__(self) -> None:
        self.now_us = 1_767_225_600_000_000

    def __call__(self) -> int:
        return self.now_us

    def advance(self, seconds: float) -> None:
        self.now_us += round(seconds * 1e6)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue:
    return Queue(RuntimeStorage(now_us=clock))


def some(count: int) -> list[Job]:
    return [Job(number) for number in range(count)]


async def numbers(queue: Queue, pipe: str = PIPE) -> list[int]:
    """The numbers of the jobs in a tube."""
    batch = await queue.storage.range(pipe, 1000)
    return [job.number for job in queue.serializer.decode(Job, batch)]


async def due_after(queue: Queue, clock: Clock) -> float | None:
    """Seconds until the next is due."""
    due_us = await queue.storage.promote()
    return None if due_us is None else (due_us - clock.now_us) / 1e6


SOON = NOW + timedelta(seconds=5)


@pytest.mark.parametrize("defer", [5, 5.0, timedelta(seconds=5), SOON, SOON.astimezone()], ids=str)
async def test_what_is_deferred_comes_when_it_is_due(queue: Queue, clock: Clock, defer: Any) -> None:
    assert await queue.register(Plain, *some(3), defer=defer) == 3
    assert await stored(queue) == []
    assert await due_after(queue, clock) == 5

    clock.advance(5)
    await queue.storage.promote()

    assert await numbers(queue) == [0, 1, 2]


@pytest.mark.parametrize("defer", [0, NOW - timedelta(days=1)], ids=str)
async def test_what_is_due_already_comes_at_once(queue: Queue, defer: Any) -> None:
    await queue.register(Plain, Job(1), defer=defer)
    await queue.storage.promote()

    assert await numbers(queue) == [1]


async def test_register_sync_defers_as_well(queue: Queue, clock: Clock) -> None:
    assert queue.register_sync(Plain, Job(1), defer=5) == 1

    assert await due_after(queue, clock) == 5


@pytest.mark.parametrize("handler", [Plain, Later])
def test_register_sync_defers_without_a_loop(queue: Queue, clock: Clock, handler: type[Handler[Job]]) -> None:
    assert queue.register_sync(handler, *some(2), defer=5) == 2

    assert asyncio.run(due_after(queue, clock)) == 5


async def test_what_is_there_is_not_accepted_again(queue: Queue) -> None:
    await queue.register(Plain, *some(2))

    assert await queue.register(Plain, *some(3), Job(2), if_not_exists=True) == 1
    assert queue.register_sync(Plain, *some(3), if_not_exists=True) == 0
    assert await queue.register(Plain, *some(3)) == 3

    assert await numbers(queue) == [0, 1, 2, 0, 1, 2]


async def test_what_is_deferred_is_there_too(queue: Queue) -> None:
    await queue.register(Plain, Job(1), defer=60)

    assert await queue.register(Plain, Job(1), if_not_exists=True) == 0
    assert await queue.register(Plain, *some(2), defer=5, if_not_exists=True) == 1


async def test_the_accepted_of_all_tubes_are_counted(queue: Queue) -> None:
    await queue.register(Threaded, *some(4))

    assert await queue.register(Threaded, *some(7), if_not_exists=True) == 3


FIRST = [
    ({"recurrent": 60}, "every 60", 60),
    ({"recurrent": timedelta(minutes=1), "defer": 5}, "every 60", 5),
    ({"recurrent": 60, "defer": 0.5}, "every 60", 0.5),
    ({"recurrent": "30 1 * * *"}, "30 1 * * *", 5400),
    ({"recurrent": "TZ=Europe/Berlin 30 1 * * *"}, "CRON_TZ=Europe/Berlin 30 1 * * *", 1800),
    ({"recurrent": "30 1 * * *", "defer": timedelta(hours=2)}, "30 1 * * *", 7200),
    (
        {"recurrent": rrule(DAILY, NOW.astimezone(ZoneInfo("Europe/Berlin")))},
        "DTSTART;TZID=Europe/Berlin:20260101T010000 RRULE:FREQ=DAILY",
        86400,
    ),
]


@pytest.mark.parametrize(
    ("options", "schedule", "first_s"), FIRST, ids=[text_of(options)[:60] for options, *_ in FIRST]
)
async def test_what_is_recurrent_is_listed_with_its_next_time(
    queue: Queue, options: dict[str, Any], schedule: str, first_s: float
) -> None:
    assert await queue.register(Plain, Job(7), **options) == 1

    [recurring] = await queue.recurrent.list()
    assert recurring.handler == KEY.rpartition("/")[0]
    assert (recurring.pipe, recurring.schedule) == (PIPE, schedule)
    assert recurring.due == NOW + timedelta(seconds=first_s)
    assert queue.recurrent.decoded(recurring, Plain) == Job(7)


async def test_a_recurring_request_is_decoded_for_its_own_handler_only(queue: Queue) -> None:
    await queue.register(Plain, Job(7), recurrent=60)
    [recurring] = await queue.recurrent.list()

    with pytest.raises(HandlerError, match=r"is of .*/Plain, not of .*/Threaded"):
        queue.recurrent.decoded(recurring, Threaded)


async def test_what_is_recurrent_comes_again_and_what_was_missed_once(queue: Queue, clock: Clock) -> None:
    await queue.register(Plain, Job(7), recurrent=60)

    clock.advance(60)
    await queue.storage.promote()
    assert await numbers(queue) == [7]
    clock.advance(605)
    await queue.storage.promote()
    assert await numbers(queue) == [7, 7]
    assert await due_after(queue, clock) == 55


async def test_registering_it_again_changes_its_schedule(queue: Queue) -> None:
    await queue.register(Plain, Job(7), recurrent=60)
    await queue.register(Plain, Job(7), recurrent="0 3 * * *")

    assert [recurring.schedule for recurring in await queue.recurrent.list()] == ["0 3 * * *"]
    assert await queue.register(Plain, Job(7), recurrent=60, if_not_exists=True) == 0


async def test_schedules_are_listed_the_next_due_first(queue: Queue) -> None:
    for number, period_s in [(1, 30), (2, 10), (3, 20)]:
        await queue.register(Threaded, Job(number), recurrent=period_s)

    assert [recurring.schedule for recurring in await queue.recurrent.list()] == ["every 10", "every 20", "every 30"]


async def test_a_schedule_can_be_ended(queue: Queue, clock: Clock) -> None:
    await queue.register(Threaded, *some(5), recurrent=60)
    clock.advance(60)
    await queue.storage.promote()

    assert await queue.recurrent.cancel(Threaded, *some(3), Job(99)) == 3

    assert len(await queue.recurrent.list()) == 2
    assert (await queue.storage.backlog()).queued == 5


async def test_cancel_takes_out_what_is_queued_and_what_is_deferred(queue: Queue) -> None:
    await queue.register(Threaded, *some(6))
    await queue.register(Threaded, *some(6), defer=60)
    await queue.register(Threaded, Job(1), recurrent=60)

    assert await queue.cancel(Threaded, Job(1), Job(2), Job(99)) == 4
    assert queue.cancel_sync(Threaded, Job(3)) == 2
    assert await queue.cancel(Threaded) == 0

    backlog = await queue.storage.backlog()
    assert (backlog.queued, backlog.deferred, backlog.recurrent) == (3, 3, 1)


@pytest.mark.parametrize("handler", [Plain, AtOnce, Later])
def test_cancel_sync_without_a_loop(queue: Queue, handler: type[Handler[Job]]) -> None:
    queue.register_sync(handler, *some(3))

    assert queue.cancel_sync(handler, Job(1)) == 1


async def test_cancel_sync_cannot_wait_for_route_inside_a_loop(queue: Queue) -> None:
    with pytest.raises(HandlerError, match=r"form with `await`"):
        queue.cancel_sync(Later, Job(1))


async def test_cancel_leaves_what_was_handed_out(queue: Queue) -> None:
    await queue.register(Plain, Job(1))
    token = await RuntimeLock(queue.storage).acquire(KEY)
    await hands.take(queue.storage, [PIPE], 1, token)

    assert await queue.cancel(Plain, Job(1)) == 0
    assert await numbers(queue) == [1]


async def test_cancel_takes_out_what_was_put_back_ahead(queue: Queue) -> None:
    await hands.put_in_front(queue.storage, PIPE, *queue.serializer.encode(Job, [Job(1)]))

    assert await queue.cancel(Plain, Job(1)) == 1


async def test_cancel_refuses_what_register_refuses(queue: Queue) -> None:
    for cancel in (queue.cancel, queue.recurrent.cancel):
        with pytest.raises(RequestError):
            await cancel(Plain, Task(1))
        with pytest.raises(HandlerError):
            await cancel(Job, Job(1))  # type: ignore[arg-type]


WRONG = [
    {"defer": -1},
    {"defer": datetime(2026, 1, 2)},
    {"defer": "soon"},
    {"recurrent": 0},
    {"recurrent": "@daily"},
    {"recurrent": 60, "defer": -1},
    {"recurrent": rrule(DAILY, NOW, until=NOW)},
    {"recurrent": rrule(DAILY, NOW, until=NOW), "defer": 5},
]


@pytest.mark.parametrize("options", WRONG, ids=lambda options: text_of(options)[:60])
async def test_times_that_cannot_be_are_refused_and_nothing_is_stored(queue: Queue, options: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError):
        await queue.register(Threaded, *some(3), **options)
    with pytest.raises(ScheduleError):
        queue.register_sync(Threaded, *some(3), **options)

    backlog = await queue.storage.backlog()
    assert (backlog.queued, backlog.deferred, backlog.recurrent) == (0, 0, 0)


async def test_a_schedule_that_is_over_is_refused_with_what_it_was(queue: Queue) -> None:
    with pytest.raises(ScheduleError, match=r"RRULE:FREQ=DAILY;COUNT=1' is over"):
        await queue.register(Plain, Job(1), recurrent=rrule(DAILY, NOW, count=1))


async def test_what_is_deferred_without_room_is_not_accepted(clock: Clock) -> None:
    queue = Queue(RuntimeStorage(StorageSettings(capacity_bytes=MIB, when_full="raise"), now_us=clock))
    await queue.register(Plain, Job(0, bytes(900_000)), defer=60)

    with pytest.raises(QueueFull) as raised:
        await queue.register(Plain, *jobs(3, 100_000), defer=60)
    with pytest.raises(QueueFull):
        await call(partial(queue.register, recurrent=60), Plain, *jobs(3, 100_000))

    assert raised.value.not_accepted == jobs(3, 100_000)
    assert (await queue.storage.backlog()).deferred == 1


async def test_what_is_deferred_waits_for_room(clock: Clock) -> None:
    queue = Queue(RuntimeStorage(StorageSettings(capacity_bytes=MIB, when_full="wait"), now_us=clock))
    await queue.register(Plain, Job(0, bytes(900_000)))
    waiting = await suspended(queue.register(Plain, *jobs(3, 100_000), defer=60, if_not_exists=True))

    assert await queue.cancel(Plain, Job(0, bytes(900_000))) == 1

    assert await finished(waiting) == 3
    backlog = await queue.storage.backlog()
    assert (backlog.queued, backlog.deferred) == (0, 3)


@pytest.mark.parametrize(("handler", "option"), [(DeferredHandler, "defer="), (RecurrentHandler, "recurrent=")])
async def test_nothing_can_be_registered_to_what_stands_for_time(
    queue: Queue, handler: type[Handler[Any]], option: str
) -> None:
    for requests in ([], [Job(1)]):
        with pytest.raises(HandlerError, match=f"{handler.__name__}: .*{option}"):
            await queue.register(handler, *requests)
        with pytest.raises(HandlerError, match=option):
            queue.register_sync(handler, *requests)

    assert await stored(queue) == []


@pytest.mark.parametrize("handler", [DeferredHandler, RecurrentHandler])
async def test_a_worker_of_it_moves_what_is_due_and_serves_nothing(handler: type[Handler[Any]]) -> None:
    queue = Queue(RuntimeStorage())
    worker = Worker(RuntimeLock(), queue)
    await queue.register(Plain, Job(1), defer=0)
    await queue.register(Plain, Job(2), recurrent=60, defer=0)

    serving = await suspended(worker.loop(handler=handler))

    assert sorted(await numbers(queue)) == [1, 2]
    worker.stop()
    await finished(serving)
