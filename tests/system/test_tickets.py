"""Results that are asked for later: tickets, on every driver."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from typing import Any

import pytest

from shardq import Handler, Queue, Retry, Route, Ticket, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.encoding.envelope import inbox_of
from shardq.encoding.replies import NOTICE
from shardq.errors import (
    HandlerError,
    RequestFailed,
    ResultTimeout,
    ResultTooLarge,
    TicketUnknown,
)
from shardq.model import KEPT_PIPE, Hand, Part, handler_name, inbox_key, inbox_pipe
from shardq.outputs import Output
from shardq.protocols import Storage
from shardq.results import ticketing
from shardq.results.inbox import OpenInbox
from shardq.settings import StorageSettings, WorkerSettings
from shardq.testing import Clock, LocalQueue
from shardq.working import binding, waiting
from shardq.working.callers import tell_holders
from tests.conftest import OpenBackend
from tests.support.drivers import MIB
from tests.support.tasks import LIMIT_S, cancelled, eventually, finished, suspended
from tests.support.workers import Impatient, Item, Routed, diary, letters, new_worker, run, trouble, working


class Bad(Exception):
    """What holders of tickets may have as it is."""


class Pair(Handler[Item, tuple[int, int]]):
    """Each number and its double, and fails for some."""

    retry = Retry(max_attempts=2, backoff_s=0.001, jitter=False)
    errors = (Bad,)

    @classmethod
    def route(cls, *items: Item) -> list[Route]:
        return [Route(item.thread, item.priority) for item in items]

    def perform(self, *items: Item) -> list[tuple[int, int]]:
        diary.add("batch", *(item.number for item in items))
        for item in items:
            if item.number in trouble:
                raise trouble[item.number]()
        return [(item.number, 2 * item.number) for item in items]


class Other(Pair):
    pass


class Sent(Routed):
    def perform(self, *items: Item) -> None:
        diary.add("sent", *(item.number for item in items))


class Emits(Pair):
    """Emits each item as well."""

    def perform(self, *items: Item) -> list[tuple[int, int]]:
        self.emit_sync(Sent, *items)
        return super().perform(*items)


class Large(Handler[int, bytes]):
    retry = Retry(max_attempts=1)

    def perform(self, *sizes: int) -> list[bytes]:
        return [bytes(size) for size in sizes]


async def nothing_is_left(queue: Queue) -> None:
    assert await queue.storage.wait_for_quiet(LIMIT_S)
    assert list(await queue.storage.pipes()) == []
    assert await letters(queue) == []


async def kept(queue: Queue) -> int:
    return (await queue.storage.range(KEPT_PIPE, 10_000)).count


# Tickets


def test_a_ticket_is_its_text() -> None:
    ticket = Ticket.new()
    assert len(ticket) == 32
    assert Ticket(str(ticket)) == ticket == pickle.loads(pickle.dumps(ticket))
    assert len({Ticket.new() for _ in range(100)}) == 100
    assert ticket not in ticket.digest.hex()


@pytest.mark.parametrize("text", ["", "x", "0" * 31, "0" * 33, "G" * 32, "0" * 32 + "\n", None, 5, b"0" * 32])
def test_what_is_no_ticket(text: object) -> None:
    with pytest.raises(TicketUnknown, match="this is no ticket"):
        Ticket(text)


# Results


async def test_the_result_of_a_ticket_stays_until_it_is_forgotten(queue: Queue, worker: Worker) -> None:
    ticket = await queue.submit(Pair, Item(0, 21))
    async with working(worker):
        assert await queue.result(ticket) == (21, 42)
        await nothing_is_left(queue)
    assert await queue.result(str(ticket), Pair, timeout_s=0) == (21, 42)

    assert await queue.forget(ticket)
    assert not await queue.forget(ticket)
    with pytest.raises(TicketUnknown, match="no result is kept"):
        await queue.result(ticket)
    assert await kept(queue) == 0


async def test_many_tickets_among_other_requests(queue: Queue, worker: Worker) -> None:
    tickets = [await queue.submit(Pair, Item(number % 3, number)) for number in range(300)]
    await queue.register(Pair, Item(0, 2000))
    async with working(worker):
        await diary.until("batch")
        call = asyncio.create_task(queue.call(Pair, Item(0, 1000)))
        for number, ticket in reversed(list(enumerate(tickets))):
            assert await queue.result(ticket) == (number, 2 * number)
        assert await finished(call) == (1000, 2000)
        await nothing_is_left(queue)
    assert await kept(queue) == 300
    assert max(map(len, diary.of("batch"))) > 1


async def test_another_queue_finds_results_of_before_and_after(queue: Queue, worker: Worker, storage: Storage) -> None:
    other = Queue(storage)
    async with working(worker):
        first = await queue.submit(Pair, Item(0, 1))
        assert await other.result(first) == (1, 2)
        second = await other.submit(Pair, Item(0, 2))
        assert await queue.result(second) == (2, 4)
        assert await other.result(second) == (2, 4)
        assert await queue.forget(first)
        with pytest.raises(TicketUnknown):
            await other.result(first)


async def test_a_holder_that_waits_is_woken(queue: Queue, worker: Worker) -> None:
    ticket = await queue.submit(Pair, Item(0, 3))
    waiting = [await suspended(queue.result(ticket)) for _ in range(2)]
    async with working(worker):
        assert [await finished(holder) for holder in waiting] == [(3, 6), (3, 6)]
        await nothing_is_left(queue)


async def test_a_holder_is_woken_by_the_result_and_not_by_a_timer(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticketing, "LOOK_S", 2 * LIMIT_S)
    tickets = [await queue.submit(Pair, Item(0, number)) for number in range(3)]
    waiting = [await suspended(queue.result(ticket)) for ticket in tickets]
    async with working(worker):
        assert [await finished(holder) for holder in waiting] == [(0, 0), (1, 2), (2, 4)]
        trouble[7] = lambda: ValueError("no sevens")
        failing = await queue.submit(Pair, Item(0, 7))
        with pytest.raises(RequestFailed):
            await queue.result(failing)


async def test_a_holder_that_begins_to_wait_right_before_the_result_is_stored_is_woken(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticketing, "LOOK_S", 2 * LIMIT_S)
    ticket = await queue.submit(Pair, Item(0, 3))
    waiting, storage = list[asyncio.Task[Any]](), queue.storage
    popped, turned = storage.pop, storage.turn

    async def begin_to_wait(outputs: Sequence[Output]) -> None:
        if outputs and not waiting:
            waiting.append(await suspended(queue.result(ticket)))

    async def pop(hand: Hand, count: int, outputs: Sequence[Output] = ()) -> bool:
        await begin_to_wait(outputs)
        return await popped(hand, count, outputs)

    async def turn(*words: Any, stay: bool = True, outputs: Sequence[Output] = ()) -> Hand | None:
        await begin_to_wait(outputs)
        return await turned(*words, stay=stay, outputs=outputs)

    monkeypatch.setattr(storage, "pop", pop)
    monkeypatch.setattr(storage, "turn", turn)
    async with working(worker):
        await eventually(lambda: bool(waiting), "the result is about to be stored")
        assert await finished(waiting[0]) == (3, 6)
        await nothing_is_left(queue)


async def test_a_holder_that_leaves_right_before_it_is_told_leaves_no_word_behind(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket, storage = await queue.submit(Pair, Item(0, 3)), queue.storage
    async with working(worker):
        assert await queue.result(ticket) == (3, 6)
    inbox = OpenInbox(storage, inbox_of(Ticket(ticket).digest))
    assert await inbox.open()
    appended = storage.append

    async def append(parts: Sequence[Part], **words: Any) -> int | None:
        await inbox.close()
        return await appended(parts, **words)

    monkeypatch.setattr(storage, "append", append)
    await tell_holders(storage, [Output(KEPT_PIPE, (await storage.range(KEPT_PIPE, 1)).messages)])
    assert not inbox.is_open
    assert (await storage.backlog()).queued == 0


async def test_a_word_that_comes_as_its_holder_leaves_goes_with_it(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = await queue.submit(Pair, Item(0, 3))
    holder, storage = await suspended(queue.result(ticket)), queue.storage
    unclaimed = storage.unclaim

    async def unclaim(key: str, *words: Any) -> bool:
        assert await storage.append([(inbox_pipe(inbox_of(Ticket(ticket).digest)), [NOTICE])], follow_up=True)
        return await unclaimed(key, *words)

    monkeypatch.setattr(storage, "unclaim", unclaim)
    await cancelled(holder)
    assert (await storage.backlog()).queued == 1  # the request


async def test_a_worker_that_is_cancelled_while_it_tells_holders_lets_go_of_what_came_next(
    queue: Queue, worker: Worker, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that stored the result claimed another thread."""
    telling = asyncio.Event()

    async def tell(*_: object) -> None:
        telling.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(binding, "tell_holders", tell)
    monkeypatch.setattr(waiting, "LOOP_TURN_S", 1e9)
    await queue.submit(Pair, Item(0, 0))
    await queue.register(Other, Item(1, 1))
    serving = asyncio.create_task(worker.loop(handler=(Pair, Other)))
    await finished(asyncio.create_task(telling.wait()))
    await cancelled(serving)

    keys = [f"{handler_name(handler)}/{thread}" for handler, thread in ((Pair, 0), (Other, 1))]
    assert [await storage.claimed(key) for key in keys] == [False, False]


async def test_a_holder_whose_lease_ran_out_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was stopped for longer than its lease, perhaps."""
    monkeypatch.setattr(ticketing, "LOOK_S", 0.01)
    clock = Clock()
    storage = RuntimeStorage(clock=clock.seconds, now_us=clock.now_us)
    queue = Queue(storage)
    ticket = await queue.submit(Pair, Item(0, 3))
    waiting = await suspended(queue.result(ticket))
    key = inbox_key(inbox_of(ticket.digest))
    token = storage._threads._threads[key].token

    assert storage.lease(key, token, 1)
    clock.move(2)
    await eventually(lambda: waiting.done() or storage._threads._threads[key].token > token, "it opens another inbox")
    await Worker(RuntimeLock(storage), queue).loop(limit=1, handler=Pair)

    assert await finished(waiting) == (3, 6)


async def test_a_holder_that_is_cancelled_again_while_it_leaves_leaves_nothing(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As anyio cancels: at each turn of the event loop."""
    inboxes = list[OpenInbox]()

    class Noted(OpenInbox):
        def __init__(self, storage: Storage, number: int) -> None:
            super().__init__(storage, number)
            inboxes.append(self)

    monkeypatch.setattr(ticketing, "OpenInbox", Noted)
    ticket = await queue.submit(Pair, Item(0, 3))
    waiting = await suspended(queue.result(ticket))
    await eventually(lambda: inboxes[0].is_open, "it listens")
    while not waiting.done():
        waiting.cancel()
        await asyncio.sleep(0)
    assert waiting.cancelled()

    await eventually(lambda: not inboxes[0].is_open, "its inbox is closed")
    assert not await queue.storage.claimed(inbox_key(inboxes[0].number))


async def test_a_holder_that_leaves_changes_nothing(queue: Queue, worker: Worker) -> None:
    ticket = await queue.submit(Pair, Item(0, 3))
    await cancelled(await suspended(queue.result(ticket)))
    with pytest.raises(ResultTimeout, match="one may still come"):
        await queue.result(ticket, timeout_s=0.01)
    async with working(worker):
        assert await queue.result(ticket) == (3, 6)
        await nothing_is_left(queue)


async def test_results_and_outputs_of_a_batch_go_together(queue: Queue, worker: Worker) -> None:
    tickets = [await queue.submit(Emits, Item(0, number)) for number in range(5)]
    async with working(worker):
        assert [await queue.result(ticket) for ticket in tickets] == [(n, 2 * n) for n in range(5)]
        await nothing_is_left(queue)
    assert sorted(n for batch in diary.of("sent") for n in batch) == list(range(5))


async def test_a_result_has_the_type_of_its_handler(queue: Queue, worker: Worker) -> None:
    ticket = await queue.submit(Pair, Item(0, 1))
    async with working(worker):
        await queue.result(ticket)
    with pytest.raises(TicketUnknown, match=r"of another handler than .*Other"):
        await queue.result(ticket, Other)
    assert await Queue(queue.storage).result(ticket) == (1, 2)


async def test_without_a_loop(queue: Queue, worker: Worker) -> None:
    ticket = queue.submit_sync(Pair, Item(0, 4))
    async with working(worker):
        assert await asyncio.to_thread(queue.result_sync, ticket) == (4, 8)
        with pytest.raises(HandlerError, match=r"await queue\.result"):
            queue.result_sync(ticket)
        assert await asyncio.to_thread(queue.submit_sync, Pair, Item(0, 5)) != ticket
    assert queue.forget_sync(ticket)


# Failures


async def test_a_failure_is_a_result(queue: Queue, worker: Worker) -> None:
    trouble[7] = lambda: ValueError("no sevens")
    trouble[8] = lambda: Bad("odd", 8)
    seven, eight = [await queue.submit(Pair, Item(0, number)) for number in (7, 8)]
    async with working(worker):
        for _ in range(2):
            with pytest.raises(RequestFailed, match="no sevens") as failed:
                await queue.result(seven)
            assert (failed.value.type, failed.value.attempts) == ("ValueError", 2)
            with pytest.raises(Bad) as bad:
                await queue.result(eight)
            assert bad.value.args == ("odd", 8)
        await nothing_is_left(queue)


@pytest.mark.requires("bounded")
async def test_a_result_that_is_too_large(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    queue = Queue(backend.storage)
    async with working(new_worker(backend, queue)):
        ticket = await queue.submit(Large, backend.storage.limits.message_bytes)
        with pytest.raises(ResultTooLarge, match="file"):
            await queue.result(ticket)
        assert await queue.result(await queue.submit(Large, 100_000)) == bytes(100_000)


@pytest.mark.requires("bounded")
async def test_where_there_is_no_room_the_latest_results_stay(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    queue = Queue(backend.storage)
    tickets = [await queue.submit(Large, 20_000) for _ in range(30)]
    async with working(new_worker(backend, queue)):
        assert await queue.result(tickets[-1]) == bytes(20_000)
        await nothing_is_left(queue)
    with pytest.raises(TicketUnknown):
        await queue.result(tickets[0])


# What cannot be known


async def test_a_forged_ticket_is_unknown_once_nothing_is_queued(queue: Queue, worker: Worker) -> None:
    with pytest.raises(TicketUnknown):
        await queue.result(Ticket.new())
    await queue.register(Pair, Item(0, 1))
    with pytest.raises(ResultTimeout):
        await queue.result(Ticket.new(), timeout_s=0)
    forged = await suspended(queue.result(Ticket.new()))
    async with working(worker):
        with pytest.raises(TicketUnknown):
            await finished(forged)


class Asks(Impatient):
    retry = Retry(max_attempts=1)

    async def perform(self, *items: Item) -> None:
        queue: Any = self.queue
        ticket = await queue.submit(Pair, items[0])
        with pytest.raises(HandlerError, match="a handler cannot wait for a result"):
            await queue.result(ticket)
        diary.add("ticket", ticket)


class AsksPlainly(Asks):
    def perform(self, *items: Item) -> None:  # type: ignore[override]
        queue: Any = self.queue
        diary.add("ticket", queue.submit_sync(Pair, items[0]))


@pytest.mark.parametrize("handler", [Asks, AsksPlainly])
async def test_a_handler_submits_and_cannot_wait(queue: Queue, worker: Worker, handler: type[Asks]) -> None:
    await queue.register(handler, Item(0, 1))
    await run(worker, 2)
    [(ticket,)] = diary.of("ticket")
    assert await queue.result(ticket) == (1, 2)


async def test_threads_look_for_their_results_at_the_same_time(queue: Queue, worker: Worker) -> None:
    async def ask(start: int) -> list[tuple[int, int]]:
        def run() -> list[tuple[int, int]]:
            tickets = [queue.submit_sync(Pair, Item(n % 3, n)) for n in range(start, start + 40)]
            return [queue.result_sync(ticket, Pair) for ticket in tickets]

        return await asyncio.to_thread(run)

    async with working(worker):
        found = await asyncio.gather(*(ask(start) for start in range(0, 160, 40)))
    assert [pair for some in found for pair in some] == [(n, 2 * n) for n in range(160)]


# Bounds


async def test_the_oldest_results_go(queue: Queue, worker: Worker) -> None:
    queue.storage.settings.results = 3
    async with working(worker):
        tickets = [await queue.submit(Pair, Item(0, number)) for number in range(10)]
        assert await queue.result(tickets[9]) == (9, 18)
    assert [await queue.result(ticket) for ticket in tickets[7:]] == [(7, 14), (8, 16), (9, 18)]
    with pytest.raises(TicketUnknown):
        await queue.result(tickets[6])
    assert await kept(queue) == 3


async def test_a_result_is_kept_for_its_time() -> None:
    queue = LocalQueue(settings=StorageSettings(results_age_s=60))
    first = await queue.submit(Pair, Item(0, 1))
    await queue.drain()
    await queue.advance(30)
    second = await queue.submit(Pair, Item(0, 2))
    await queue.drain()

    await queue.advance(29)
    assert await queue.result(first) == (1, 2)
    await queue.advance(2)
    with pytest.raises(TicketUnknown):
        await queue.result(first)
    assert await queue.result(second) == (2, 4)
    await queue.advance(60)
    with pytest.raises(TicketUnknown):
        await queue.result(second)
    assert await kept(queue) == 0


async def test_old_results_go_when_others_come() -> None:
    clock = Clock()
    storage = RuntimeStorage(StorageSettings(results_age_s=60, capacity_bytes=300_000), now_us=clock.now_us)
    queue = Queue(storage)
    worker = Worker(RuntimeLock(storage), queue, WorkerSettings(empty_limit=0))
    async with working(worker):
        for number in range(500):
            await queue.result(await queue.submit(Pair, Item(0, number)))
            clock.move_to_us(clock.now_us() + 10_000_000)
    assert await kept(queue) <= 7


async def test_results_that_are_dropped_make_room() -> None:
    storage = RuntimeStorage(StorageSettings(capacity_bytes=300_000))
    queue = Queue(storage)
    async with working(Worker(RuntimeLock(storage), queue, WorkerSettings(empty_limit=0))):
        for _ in range(30):
            ticket = await queue.submit(Large, 50_000)
            assert await queue.result(ticket) == bytes(50_000)
            assert await queue.forget(ticket)
        await eventually(lambda: not storage._stored.capacity.used_bytes, "all room is free again")
