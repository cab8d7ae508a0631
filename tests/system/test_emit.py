"""What handlers emit, on every driver: there once the batch is done, and nothing of what was not done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from shardq import Queue, Retry, Worker
from shardq.errors import (
    FencedError,
    HandlerError,
    MessageTooLarge,
    QueueFull,
    RequestError,
    ScheduleError,
    TooManyOutputs,
)
from shardq.model import Counts, Hand, Route, Tube
from shardq.outputs import Output
from shardq.working.outbox import Outbox
from tests.conftest import OpenBackend
from tests.faults.kit.points import Child
from tests.support.drivers import MIB, Backend
from tests.support.tasks import LIMIT_S, NEVER_S, cancelled, finished, suspended
from tests.support.workers import (
    Impatient,
    Item,
    Once,
    Padded,
    Planned,
    Routed,
    Second,
    batches,
    diary,
    fill,
    letters,
    new_worker,
    one_each,
    plans,
    run,
    trouble,
    working,
)


class Sent(Routed):
    """Writes down what was emitted to it."""

    def perform(self, *items: Item) -> None:
        for item in items:
            diary.add("sent", item.number)


class Plain(Impatient):
    """Emits one output for each item, and fails for some afterwards."""

    def perform(self, *items: Item) -> Any:
        self.emit_sync(Sent, *items)
        self.fail(items)

    def fail(self, items: Sequence[Item]) -> None:
        diary.add("batch", *(item.number for item in items))
        for item in items:
            if item.number in trouble:
                raise trouble[item.number]()


class Async(Plain):
    async def perform(self, *items: Item) -> None:
        await self.emit(Sent, *items)
        self.fail(items)


#: Handlers that emit in plain code, and in code that waits.
BOTH_KINDS = pytest.mark.parametrize("handler", [Plain, Async])


class Hasty(Once):
    timeout_s = 0.05


class Parted(Impatient):
    """Sends each output on by itself."""

    def perform(self, *items: Item) -> Any:
        for done, item in enumerate(items, 1):
            self.emit_sync(Sent, item)
            self.acknowledge_sync(done)


async def worked_off(backend: Backend, queue: Queue) -> None:
    """Everything is handled, by a worker that may take as much as it likes at once."""
    async with working(new_worker(backend, queue)):
        assert await queue.storage.wait_for_quiet(LIMIT_S)


def sent() -> list[int]:
    """Numbers of the outputs that were handled."""
    return [number for (number,) in diary.of("sent")]


async def stored(queue: Queue) -> list[int]:
    """Numbers of the outputs in the first thread."""
    batch = await queue.storage.range(Tube(Sent, Route()).pipe, 1_000)
    return [item.number for item in queue.serializer.decode(Item, batch)] if batch.count else []


# Done and failed


@BOTH_KINDS
async def test_each_output_comes_once_and_in_its_order(backend: Backend, queue: Queue, handler: type[Plain]) -> None:
    await queue.register(handler, *one_each(300))

    await worked_off(backend, queue)

    assert sent() == list(range(300))
    assert await queue.storage.backlog() == Counts(600, 600)


@BOTH_KINDS
async def test_with_a_limit_they_come_as_well(queue: Queue, worker: Worker, handler: type[Plain]) -> None:
    await queue.register(handler, *one_each(5))

    await run(worker, 3, handler=handler)

    assert await stored(queue) == [0, 1, 2]


@BOTH_KINDS
async def test_of_a_failed_attempt_nothing_is_there(backend: Backend, queue: Queue, handler: type[Plain]) -> None:
    trouble[2] = lambda: ValueError("always")
    await queue.register(handler, *one_each(6))

    await worked_off(backend, queue)

    assert sent() == [0, 1, 3, 4, 5]
    assert [letter.message for letter in await letters(queue)] == [b"\x93\x00\x02\x00"]


async def test_what_was_emitted_before_a_timeout_is_not_there(queue: Queue, worker: Worker) -> None:
    async def hang_at_one(handler: Hasty, items: Sequence[Item]) -> None:
        await handler.emit(Sent, *items)
        if any(item.number == 1 for item in items):
            await diary.gate.wait()

    plans.extend([hang_at_one] * 9)
    await queue.register(Hasty, *one_each(3))

    await run(worker, 3, handler=Hasty)

    assert await stored(queue) == [0, 2]
    assert len(await letters(queue)) == 1


@pytest.mark.parametrize("notices", [False, True])
async def test_a_fenced_worker_sends_nothing(backend: Backend, queue: Queue, notices: bool) -> None:
    worker, other = new_worker(backend, queue), backend.new_lock()
    key = Tube(Once, Route()).key

    async def lose_the_thread(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, *items)
        await worker.lock.release(key)
        assert await other.acquire(key)
        if notices:
            with pytest.raises(FencedError):
                await handler.acknowledge(1)

    async def emit(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, *items)

    plans.extend([lose_the_thread, emit])
    await queue.register(Once, *one_each(3))

    async with working(worker):
        await diary.until("stop")
        assert await stored(queue) == []
        await other.release(key)
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    assert batches() == [(0, 1, 2), (0, 1, 2)]
    assert sent() == [0, 1, 2]


async def test_a_cancelled_loop_sends_nothing(backend: Backend, queue: Queue) -> None:
    async def wait(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, *items)
        diary.add("emitted")
        await diary.gate.wait()

    plans.append(wait)
    await queue.register(Once, *one_each(2))
    loop = asyncio.create_task(new_worker(backend, queue).loop())
    await diary.until("emitted")
    await cancelled(loop)

    await worked_off(backend, queue)

    assert sent() == []


async def test_what_a_handler_keeps_from_a_failed_attempt_shows(
    backend: Backend, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test of the tests above: an outbox that does not forget is found out."""
    monkeypatch.setattr(Outbox, "forget", lambda outbox: None)
    trouble[2] = lambda: ValueError("always")
    await queue.register(Plain, *one_each(6))

    await worked_off(backend, queue)

    assert sorted(sent()) != [0, 1, 3, 4, 5]


# A part of a batch


async def test_what_was_emitted_so_far_leaves_with_a_part(queue: Queue, worker: Worker) -> None:
    async def by_parts(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, Item(0, 10))
        assert await stored(queue) == []
        await handler.acknowledge(1)
        assert await stored(queue) == [10]
        await handler.emit(Sent, Item(0, 11))
        await handler.acknowledge(1)  # nothing more
        assert await stored(queue) == [10]
        await handler.emit(Sent, Item(0, 12))
        await handler.acknowledge(2)
        await handler.emit(Sent, Item(0, 13))
        diary.add("done")
        raise ValueError("at the third")

    plans.append(by_parts)
    await queue.register(Once, *one_each(3))

    await run(worker, 3, handler=Once)

    assert diary.of("done") == [()]
    assert await stored(queue) == [10, 11, 12]
    assert len(await letters(queue)) == 1


async def test_plain_handlers_send_with_a_part(queue: Queue, worker: Worker) -> None:
    await queue.register(Parted, *one_each(3))

    await run(worker, 3, handler=Parted)

    assert await stored(queue) == [0, 1, 2]


async def test_after_the_last_acknowledgement_nothing_can_be_emitted(queue: Queue, worker: Worker) -> None:
    async def too_late(handler: Once, items: Sequence[Item]) -> None:
        await handler.acknowledge(len(items))
        with pytest.raises(HandlerError, match="all requests of its batch were acknowledged"):
            await handler.emit(Sent, Item(0, 1))
        diary.add("refused")

    plans.append(too_late)
    await queue.register(Once, *one_each(2))

    await run(worker, 2, handler=Once)

    assert diary.of("refused") == [()]
    assert await stored(queue) == []


async def test_of_two_acknowledgements_at_once_the_smaller_one_opens_nothing_again(
    queue: Queue, worker: Worker
) -> None:
    async def both(handler: Once, items: Sequence[Item]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(handler.acknowledge(len(items)))
            group.create_task(handler.acknowledge(1))
        with pytest.raises(HandlerError, match="all requests of its batch were acknowledged"):
            await handler.emit(Sent, Item(0, 1))
        diary.add("refused")

    plans.append(both)
    await queue.register(Once, *one_each(3))

    await run(worker, 3, handler=Once)

    assert diary.of("refused") == [()]
    assert await stored(queue) == []


async def test_an_acknowledgement_that_ends_behind_its_batch_says_nothing_of_the_next(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, pop = list[asyncio.Task[None]](), queue.storage.pop

    async def late(*arguments: Any) -> bool:
        if tasks and asyncio.current_task() is tasks[0]:
            diary.add("on its way")
            await diary.gate.wait()
        return await pop(*arguments)

    async def leave_one(handler: Once, items: Sequence[Item]) -> None:
        tasks.append(asyncio.create_task(handler.acknowledge(2)))
        await diary.until("on its way")

    async def let_it(handler: Once, items: Sequence[Item]) -> None:
        diary.gate.set()
        await asyncio.wait(tasks)
        with suppress(FencedError):
            tasks[0].result()
        diary.add("acknowledged", handler._in_hand.acknowledged)

    monkeypatch.setattr(queue.storage, "pop", late)
    plans.extend([leave_one, let_it])
    worker.settings.batch_size = 2
    await queue.register(Once, *one_each(4))

    await run(worker, 4, handler=Once)

    assert diary.of("acknowledged") == [(0,)]


@pytest.mark.parametrize("acknowledged", [False, True], ids=["before", "after"])
async def test_an_acknowledgement_that_was_cut_off_sends_nothing_twice(
    backend: Backend, queue: Queue, monkeypatch: pytest.MonkeyPatch, acknowledged: bool
) -> None:
    """An interrupt comes just before or just after the step, and the handler goes on as if nothing had happened."""
    pop = queue.storage.pop

    async def cut_off(hand: Hand, count: int, outputs: Sequence[Output] = ()) -> bool:
        monkeypatch.setattr(queue.storage, "pop", pop)
        if acknowledged:
            await pop(hand, count, outputs)
        raise InterruptedError

    async def careless(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, *items)
        monkeypatch.setattr(queue.storage, "pop", cut_off)
        with pytest.raises(InterruptedError):
            await handler.acknowledge(2)

    async def emit(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, *items)

    plans.extend([careless, *[emit] * 4])
    await queue.register(Planned, *one_each(3))

    await worked_off(backend, queue)

    assert sent() == ([0, 1, 2, 2] if acknowledged else [0, 1, 2])


# When, and unless it is there


async def test_outputs_can_be_deferred(queue: Queue, worker: Worker) -> None:
    async def later(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, *items, defer=3600)
        await handler.emit(Sent, Item(0, 9), defer=0)

    plans.append(later)
    await queue.register(Once, *one_each(3))

    await run(worker, 3, handler=Once)
    await queue.storage.promote()

    assert await stored(queue) == [9]
    assert await queue.storage.backlog() == Counts(4, 3, deferred=3)


async def test_outputs_can_be_such_that_are_not_there(queue: Queue, worker: Worker) -> None:
    async def once(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, Item(0, 1))
        await handler.emit(Sent, Item(0, 0), Item(0, 1), Item(0, 2), Item(0, 2), if_not_exists=True)
        await handler.emit(Sent, Item(0, 2))

    plans.append(once)
    await queue.register(Sent, Item(0, 0))
    await queue.register(Once, Item(0, 0))

    await run(worker, 1, handler=Once)

    assert await stored(queue) == [0, 1, 2, 2]


async def test_outputs_for_the_own_thread_come_behind_what_is_there(backend: Backend, queue: Queue) -> None:
    async def again(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Once, *(item._replace(number=item.number + 10) for item in items))

    plans.append(again)
    await queue.register(Once, *one_each(3))

    await worked_off(backend, queue)

    assert batches() == [(0, 1, 2), (10, 11, 12)]


# What cannot be


async def test_bad_requests_and_times_raise_where_they_are_emitted(queue: Queue, worker: Worker) -> None:
    async def badly(handler: Once, items: Sequence[Item]) -> None:
        with pytest.raises(RequestError):
            await handler.emit(Sent, "no item")
        with pytest.raises(HandlerError):
            await handler.emit(Sent, Item(-1, 0))
        with pytest.raises(HandlerError):
            await handler.emit(int, 1)  # type: ignore[arg-type]  # what is refused
        with pytest.raises(ScheduleError):
            await handler.emit(Sent, Item(0, 0), defer=-1)
        await handler.emit(Sent)
        diary.add("refused")

    plans.append(badly)
    await queue.register(Once, Item(0, 0))

    await run(worker, 1, handler=Once)

    assert diary.of("refused") == [()]
    assert await stored(queue) == []


class Outside(Once):
    def start(self) -> None:
        self.refused()

    def refused(self) -> None:
        with pytest.raises(HandlerError, match="no batch in hand"):
            self.emit_sync(Sent, Item(0, 0))
        diary.add("refused")

    async def perform(self, *items: Item) -> None:
        diary.add("handler", self)

    def stop(self) -> None:
        self.refused()


async def test_outside_of_a_batch_nothing_can_be_emitted(queue: Queue, worker: Worker) -> None:
    await queue.register(Outside, Item(0, 0))

    await run(worker, 1, handler=Outside)

    assert diary.of("refused") == [(), ()]
    [(handler,)] = diary.of("handler")
    handler.refused()
    with pytest.raises(HandlerError, match="no worker has given it a batch"):
        await Outside().emit(Sent, Item(0, 0))
    assert await stored(queue) == []


def in_a_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


async def test_a_thread_of_the_handlers_own_is_refused(queue: Queue, worker: Worker) -> None:
    async def elsewhere(handler: Once, items: Sequence[Item]) -> None:
        def work() -> None:
            with pytest.raises(HandlerError, match=r"does not belong to the batch in hand.*asyncio\.to_thread"):
                handler.emit_sync(Sent, Item(0, 1))
            diary.add("refused")

        in_a_thread(work)

    plans.append(elsewhere)
    await queue.register(Once, Item(0, 0))

    await run(worker, 1, handler=Once)

    assert diary.of("refused") == [()]
    assert await stored(queue) == []


async def test_a_process_that_the_handler_forks_is_refused(queue: Queue, worker: Worker) -> None:
    async def elsewhere(handler: Once, items: Sequence[Item]) -> None:
        def work() -> str:
            try:
                handler.emit_sync(Sent, Item(0, 1))
            except HandlerError as error:
                return str(error)
            return "emitted"

        assert "in a process that the handler forked" in Child(work).result()
        diary.add("refused")

    plans.append(elsewhere)
    await queue.register(Once, Item(0, 0))

    await run(worker, 1, handler=Once)

    assert diary.of("refused") == [()]
    assert await stored(queue) == []


async def test_tasks_and_threads_of_asyncio_emit_for_the_batch(queue: Queue, worker: Worker) -> None:
    async def spread(handler: Once, items: Sequence[Item]) -> None:
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(asyncio.to_thread(handler.emit_sync, Sent, item))
                group.create_task(handler.emit(Sent, item))

    plans.append(spread)
    await queue.register(Once, *one_each(20))

    await run(worker, 20, handler=Once)

    assert sorted(await stored(queue)) == sorted([*range(20), *range(20)])


@pytest.mark.requires("immediate")
async def test_threads_of_asyncio_acknowledge_one_after_the_other(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, inside, second = queue.storage.pop, threading.Event(), threading.Event()

    async def pop(hand: Hand, count: int, outputs: Sequence[Output] = ()) -> bool:
        if count == 1:
            inside.set()
            second.wait(NEVER_S)
        return await usual(hand, count, outputs)

    async def acknowledge(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, items[0])
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(handler.acknowledge_sync, 1))
            await asyncio.to_thread(inside.wait, LIMIT_S)
            await asyncio.to_thread(handler.acknowledge_sync, 2)
            second.set()

    monkeypatch.setattr(queue.storage, "pop", pop)
    plans.append(acknowledge)
    await queue.register(Once, *one_each(2))

    await run(worker, 2, handler=Once)

    assert batches() == [(0, 1)]
    assert await stored(queue) == [0]


class Forgetful(Plain):
    """Forgets to await what it emits."""

    def perform(self, *items: Item) -> None:
        self.emit(Sent, *items)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_what_is_emitted_and_never_awaited_is_a_failure(queue: Queue, worker: Worker) -> None:
    await queue.register(Forgetful, Item(0, 1))

    await run(worker, 1, handler=Forgetful)

    [letter] = await letters(queue)
    assert "HandlerError" in letter.error
    assert "await self.emit(...)" in letter.error
    assert await stored(queue) == []


class Slow(Sent):
    """Routes once the gate is open."""

    @classmethod
    async def route(cls, *items: Item) -> list[Route]:  # type: ignore[override]
        await diary.gate.wait()
        return super().route(*items)


async def test_what_is_still_being_emitted_at_the_end_of_its_batch_is_a_failure(queue: Queue, worker: Worker) -> None:
    tasks = list[asyncio.Task[None]]()

    async def leave_it(handler: Once, items: Sequence[Item]) -> None:
        tasks.append(await suspended(handler.emit(Slow, *items)))

    plans.append(leave_it)
    await queue.register(Once, Item(0, 0))

    await run(worker, 1, handler=Once)

    [letter] = await letters(queue)
    assert "await self.emit(...)" in letter.error
    diary.gate.set()
    with pytest.raises(HandlerError, match="there is no batch in hand"):
        await finished(tasks[0])


async def test_a_task_that_outlives_its_batch_is_refused_in_the_next(queue: Queue, worker: Worker) -> None:
    tasks = list[asyncio.Task[None]]()

    async def leave_one(handler: Once, items: Sequence[Item]) -> None:
        tasks.append(asyncio.create_task(stray(handler)))

    async def let_it(handler: Once, items: Sequence[Item]) -> None:
        diary.gate.set()
        await asyncio.wait(tasks)

    async def stray(handler: Once) -> None:
        await diary.gate.wait()
        with pytest.raises(HandlerError, match="does not belong to the batch in hand"):
            await handler.emit(Sent, Item(0, 1))
        diary.add("refused")

    plans.extend([leave_one, let_it])
    worker.settings.batch_size = 1
    await queue.register(Once, *one_each(2))

    await run(worker, 2, handler=Once)

    assert diary.of("refused") == [()]
    assert await stored(queue) == []


@pytest.mark.parametrize("error", [HandlerError, MessageTooLarge, ScheduleError])
async def test_outputs_that_the_storage_refuses_after_all_are_a_failure(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """What a storage takes can become less after the handler emitted."""

    async def refuse(*arguments: Any, **options: Any) -> bool:
        raise error("too large by now")

    async def emit(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, *items)
        monkeypatch.setattr(queue.storage, "pop", refuse)

    plans.append(emit)
    await queue.register(Once, Item(0, 0))

    await run(worker, 1, handler=Once)

    [letter] = await letters(queue)
    assert letter.error.endswith("too large by now")
    assert await stored(queue) == []


# More than there is room for


class Many(Impatient):
    """Emits three eighths of a step for each item but the first, and for that more than a step."""

    def perform(self, *items: Item) -> None:
        diary.add("batch", *(item.number for item in items))
        step = self.queue.storage.limits.messages
        for item in items:
            self.emit_sync(Sent, *[item] * (step + 1 if item.number < 1 else step * 3 // 8))


@pytest.mark.requires("multiprocess")
async def test_more_than_one_step_is_taken_in_smaller_batches(queue: Queue, worker: Worker) -> None:
    await queue.register(Many, *(Item(0, number) for number in (1, 2, 3, 4, 0)))

    await run(worker, 5, handler=Many)

    assert batches()[:3] == [(1, 2, 3, 4, 0), (1, 2), (3, 4)]
    assert await queue.storage.length(Tube(Sent, Route()).pipe) == 4 * (queue.storage.limits.messages * 3 // 8)
    [letter] = await letters(queue)
    assert "more for one request than the storage takes in one step" in letter.error


@pytest.mark.requires("multiprocess")
async def test_a_handler_can_do_with_too_many_outputs_what_it_likes(queue: Queue, worker: Worker) -> None:
    step = queue.storage.limits.messages

    async def careful(handler: Once, items: Sequence[Item]) -> None:
        await handler.emit(Sent, *[items[0]] * step)
        with pytest.raises(TooManyOutputs) as refused:
            await handler.emit(Sent, *[items[1]] * step)
        assert len(refused.value.not_accepted) == step
        await handler.acknowledge(1)
        await handler.emit(Sent, *[items[1]] * step)

    plans.append(careful)
    await queue.register(Once, *one_each(2))

    await run(worker, 2, handler=Once)

    assert await queue.storage.length(Tube(Sent, Route()).pipe) == 2 * step
    assert await letters(queue) == []


class First(Second):
    """Brings about one of the other for each of its own."""

    def perform(self, *requests: Padded) -> Any:
        self.emit_sync(Second, *requests)


class AsyncFirst(First):
    async def perform(self, *requests: Padded) -> None:
        await self.emit(Second, *requests)


@pytest.mark.requires("bounded")
@pytest.mark.parametrize("handler", [First, AsyncFirst])
@pytest.mark.parametrize("size", [128, 8_000])
async def test_outputs_in_a_full_storage_come_to_their_end(
    open_backend: OpenBackend, handler: type[First], size: int
) -> None:
    backend = open_backend(MIB)
    queue = Queue(backend.storage)
    registered = await fill(queue, handler, size)

    async with working(new_worker(backend, queue)):
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    assert [number for (number,) in diary.of("second")] == list(range(registered))
    assert await letters(queue) == []


class Fills(First):
    """Emits what never fits beside the request that it comes of."""

    retry = Retry(max_attempts=2, backoff_s=0.0)

    def perform(self, *requests: Padded) -> None:
        diary.add("attempt")
        for request in requests:
            self.emit_sync(Second, request._replace(padding=bytes(len(request.padding) // 2)))


@pytest.mark.requires("bounded")
async def test_an_output_that_never_fits_beside_its_request_makes_a_dead_letter(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    queue = Queue(backend.storage)
    most = queue.storage.limits.message_bytes
    await queue.register(Fills, Padded(0, bytes(most - 1_000)))

    async with working(new_worker(backend, queue)):
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    [letter] = await letters(queue)
    assert "has no room for 1 output" in letter.error
    assert letter.attempts == 2 == len(diary.of("attempt"))
    assert await queue.storage.length(Tube(Second, Route()).pipe) == 0


@pytest.mark.requires("bounded")
async def test_without_room_nothing_is_acknowledged_and_the_handler_hears_of_it(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    queue = Queue(backend.storage)
    queue.storage.settings.when_full = "raise"

    async def send_much(handler: Once, items: Sequence[Item]) -> None:
        for number in range(2):
            await handler.emit(Second, Padded(number, bytes(50_000)))
        with pytest.raises(QueueFull):
            await handler.acknowledge(1)
        diary.add("refused")

    plans.append(send_much)
    await queue.register(Once, *one_each(2))
    with suppress(QueueFull):
        for _ in range(1_000):
            await queue.register(Sent, *[Item(0, 7)] * 1_000)
    left = (await queue.storage.backlog()).queued

    await run(new_worker(backend, queue), 2, handler=Once)

    assert diary.of("refused") == [()]
    assert batches() == [(0, 1), (0,), (1,)]
    assert (await queue.storage.backlog()).queued == left - 2
    assert await queue.storage.length(Tube(Second, Route()).pipe) == 0
