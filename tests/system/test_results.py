"""Callers that wait for results, on every driver that has answers for them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from operator import attrgetter
from typing import Any

import pytest

from shardq import Handler, Queue, Retry, Route, Worker
from shardq.encoding.envelope import split
from shardq.encoding.replies import encode_results, success
from shardq.errors import (
    ConfigurationError,
    HandlerError,
    NotServed,
    RequestError,
    RequestFailed,
    ResultTimeout,
    ResultTooLarge,
    StorageUnavailable,
)
from shardq.model import INBOX, handler_name, inbox_pipe
from shardq.protocols import Serializer, Storage
from shardq.results import inbox as inboxes
from shardq.results import mapping
from tests.conftest import OpenBackend
from tests.support.able import able_driver
from tests.support.drivers import MIB, ONE_OF_EACH, Backend, Driver, driver_named
from tests.support.malign import BadClass
from tests.support.tasks import LIMIT_S, NEVER_S, cancelled, eventually, finished, in_thread, suspended
from tests.support.workers import (
    Impatient,
    Item,
    Routed,
    diary,
    letters,
    new_worker,
    run,
    trouble,
    without_room_for_0,
    working,
)


class Bad(Exception):
    """What callers may have as it is."""


class Own(Exception):
    """An exception that pickle cannot carry, since it cannot be made again from its message."""

    def __init__(self, number: int, *, reason: str) -> None:
        super().__init__(f"{number} {reason}")
        self.lock = threading.Lock()


class Double(Handler[Item, int]):
    """Twice the number of each item, and fails for some."""

    retry = Retry(max_attempts=3, backoff_s=0.001, jitter=False)
    errors = (Bad,)

    @classmethod
    def route(cls, *items: Item) -> list[Route]:
        return [Route(item.thread, item.priority) for item in items]

    def perform(self, *items: Item) -> list[int]:
        diary.add("batch", *(item.number for item in items))
        for item in items:
            if item.number in trouble:
                raise trouble[item.number]()
        return [2 * item.number for item in items]


class AsyncDouble(Double):
    async def perform(self, *items: Item) -> list[int]:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().perform(*items)


class Late(Double):
    """Waits with the second item."""

    async def perform(self, *items: Item) -> list[int]:  # type: ignore[override]
        if items[0].number == 2:
            await diary.gate.wait()
        return super().perform(*items)


@dataclass
class Picture:
    name: str
    size: tuple[int, int]
    tags: set[str]


class Draw(Handler[int, Picture]):
    def perform(self, *numbers: int) -> list[Picture]:
        return [Picture(str(number), (number, 2), {"a", "b"}) for number in numbers]


class Annotated(Routed):
    """Says in the annotation of its method what its results are."""

    def perform(self, *items: Item) -> list[Item]:
        return [item._replace(number=item.number + 1) for item in items]


class Inexact(Draw):
    retry = Retry(max_attempts=1)

    def perform(self, *numbers: int) -> list[Picture]:
        return [Picture("x", (1, 2), {3}) for _ in numbers]  # type: ignore[arg-type]


class Single(Handler[int, str]):
    batch_size = 1

    def perform(self, number: int) -> str:
        return str(number)


class Silent(Routed):
    """Returns nothing."""

    def perform(self, *items: Item) -> None:
        diary.add("batch", *(item.number for item in items))


class Wrong(Impatient):
    """Returns what `answer` says."""

    answer: Any = None

    def perform(self, *items: Item) -> list[int]:
        return Wrong.answer  # type: ignore[no-any-return]


@pytest.fixture(
    params=[*ONE_OF_EACH, *map(driver_named, ("redis, partitions", "redis, cluster"))], ids=attrgetter("name")
)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Where there are partitions, results are on their way from that of their request to that of their caller."""
    return able_driver(request)


@pytest.fixture
async def queue(storage: Storage) -> Queue:
    return await served(storage)


async def served(storage: Storage, serializer: Serializer | None = None) -> Queue:
    """A queue for which this process counts as one that serves all handlers: its workers begin when a test says."""
    handlers = [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, Handler)]
    await storage.wait(frozenset(map(handler_name, handlers)), 0)
    return Queue(storage, serializer)


def items(numbers: int, threads: int = 3) -> Iterator[Item]:
    return (Item(number % threads, number) for number in range(numbers))


def numbers_done() -> list[int]:
    return [number for batch in diary.of("batch") for number in batch]


async def nothing_is_left(queue: Queue) -> None:
    """All requests and results left, and the inboxes with them."""
    assert await queue.storage.wait_for_quiet(LIMIT_S)
    assert list(await queue.storage.pipes()) == []
    assert await letters(queue) == []


@pytest.mark.parametrize("handler", [Double, AsyncDouble])
async def test_a_call_returns_the_result(queue: Queue, worker: Worker, handler: type[Double]) -> None:
    async with working(worker):
        assert await queue.call(handler, Item(0, 21)) == 42
        await nothing_is_left(queue)


async def test_a_result_has_its_declared_type(queue: Queue, worker: Worker) -> None:
    async with working(worker):
        assert await queue.call(Draw, 3) == Picture("3", (3, 2), {"a", "b"})
        assert await queue.call(Annotated, Item(0, 1)) == Item(0, 2)
        assert await queue.call(Single, 3) == "3"
        assert await queue.call(Silent, Item(0, 1)) is None  # type: ignore[func-returns-value]


async def test_calls_of_one_loop_at_the_same_time(queue: Queue, worker: Worker) -> None:
    async with working(worker):
        found = await asyncio.gather(*(queue.call(Double, item) for item in items(500)))

        assert found == [2 * number for number in range(500)]
        await nothing_is_left(queue)


async def test_a_call_that_waits_for_room_holds_up_no_other(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came first, and the call that reads for all has its result."""
    room = without_room_for_0(queue, monkeypatch)
    waits = asyncio.create_task(queue.call(Late, Item(0, 0)))
    reads, last = (asyncio.create_task(queue.call(Late, Item(number, number))) for number in (1, 2))
    async with working(worker):
        assert await finished(reads) == 2
        diary.gate.set()
        assert await finished(last) == 4
        room.set()
        assert await finished(waits) == 0


async def test_a_call_without_a_loop(queue: Queue, worker: Worker) -> None:
    async with working(worker):
        assert await asyncio.to_thread(queue.call_sync, Double, Item(0, 4)) == 8
        with pytest.raises(HandlerError, match=r"await queue\.call"):
            queue.call_sync(Double, Item(0, 4))


async def test_requests_with_and_without_callers_keep_their_order(queue: Queue, worker: Worker) -> None:
    await queue.register(Double, Item(0, 1))
    first = await suspended(queue.call(Double, Item(0, 2)))
    await queue.register(Double, Item(0, 3))
    second = await suspended(queue.call(Double, Item(0, 4)))
    await queue.register(Double, Item(0, 5))

    async with working(worker):
        assert (await finished(first), await finished(second)) == (4, 8)
        await nothing_is_left(queue)
    assert diary.of("batch") == [(1, 2, 3, 4, 5)]


# Failures


async def test_a_failure_goes_to_the_caller(queue: Queue, worker: Worker) -> None:
    trouble[7] = lambda: ValueError("no sevens")
    async with working(worker):
        calls = [queue.call(Double, Item(0, number)) for number in (6, 7, 8)]
        six, seven, eight = await asyncio.gather(*calls, return_exceptions=True)

        assert (six, eight) == (12, 16)
        assert isinstance(seven, RequestFailed)
        assert (seven.type, seven.message, seven.attempts) == ("ValueError", "ValueError: no sevens", 3)
        assert seven.signal is None
        assert "raise trouble[item.number]()" in seven.traceback
        assert any("no sevens" in note for note in seven.__notes__)
        await nothing_is_left(queue)


async def test_an_exception_that_pickle_cannot_carry(queue: Queue, worker: Worker) -> None:
    trouble[7] = lambda: Own(7, reason="is odd")
    async with working(worker):
        with pytest.raises(RequestFailed, match="7 is odd") as failed:
            await queue.call(Double, Item(0, 7))
    assert failed.value.type == "tests.system.test_results.Own"


async def test_an_exception_that_the_handler_names_arrives_as_itself(queue: Queue, worker: Worker) -> None:
    trouble[7] = lambda: Bad("odd", 7)
    async with working(worker):
        with pytest.raises(Bad) as failed:
            await queue.call(Double, Item(0, 7))
    assert failed.value.args == ("odd", 7)
    assert isinstance(failed.value.__cause__, RequestFailed)


async def test_a_request_that_fails_once_has_its_result(queue: Queue, worker: Worker) -> None:
    def fail_once() -> BaseException:
        del trouble[7]
        return ValueError("once")

    trouble[7] = fail_once
    async with working(worker):
        assert await queue.call(Double, Item(0, 7)) == 14


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "returned None for 1 request"),
        ([1, 2], "returned 2 results for 1 request"),
        (["text"], "returned 'text' of type str, and its results are of type int"),
        (5, "returned 5 for 1 request"),
    ],
)
async def test_a_wrong_result_fails_the_request(queue: Queue, worker: Worker, answer: Any, said: str) -> None:
    Wrong.answer = answer
    async with working(worker):
        with pytest.raises(RequestFailed, match=said):
            await queue.call(Wrong, Item(0, 1))
        await queue.register(Wrong, Item(0, 1))  # no caller waits, so it may return what it likes
        await nothing_is_left(queue)


async def test_a_value_of_another_type_inside_of_a_result_fails_the_request(queue: Queue, worker: Worker) -> None:
    async with working(worker):
        with pytest.raises(RequestFailed, match="cannot be sent to its caller"):
            await queue.call(Inexact, 1)


class Large(Handler[int, bytes]):
    retry = Retry(max_attempts=1)

    def perform(self, *sizes: int) -> list[bytes]:
        diary.add("batch", *sizes)
        return [bytes(size) for size in sizes]


@pytest.mark.requires("bounded")
async def test_a_result_that_is_too_large(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    queue = await served(backend.storage)
    async with working(new_worker(backend, queue)):
        with pytest.raises(ResultTooLarge, match="file"):
            await queue.call(Large, backend.storage.limits.message_bytes)
        assert await queue.call(Large, 100_000) == bytes(100_000)


class Broken(Handler[int, int]):
    """Raises what is as large as it is told."""

    retry = Retry(max_attempts=1)
    errors = (Bad,)

    def perform(self, *sizes: int) -> list[int]:
        raise Bad("document is broken", bytes(sizes[0]))


@pytest.mark.requires("bounded")
async def test_of_an_exception_that_is_too_large_callers_and_holders_of_tickets_get_the_text(
    open_backend: OpenBackend,
) -> None:
    backend = open_backend(MIB)
    queue = await served(backend.storage)
    async with working(new_worker(backend, queue)):
        with pytest.raises(RequestFailed, match="document is broken") as failed:
            await queue.call(Broken, backend.storage.limits.message_bytes)
        ticket = await queue.submit(Broken, backend.storage.limits.message_bytes)
        with pytest.raises(RequestFailed, match="document is broken") as kept:
            await queue.result(ticket)
        with pytest.raises(Bad):
            await queue.call(Broken, 100_000)

    for error in (failed.value, kept.value):
        assert error.type == f"{__name__}.Bad"
        assert "bytes left out" in str(error)


@pytest.mark.requires("bounded")
async def test_results_that_are_more_than_a_step_leave_in_several(open_backend: OpenBackend) -> None:
    backend = open_backend(32 * MIB)
    queue = await served(backend.storage)
    async with working(new_worker(backend, queue)), queue.map(Large, [100_000] * 30, window=30) as results:
        assert [len(result) async for result in results] == [100_000] * 30

    assert sum(map(len, diary.of("batch"))) == 30  # none of them was handled twice


# Where callers cannot wait


class Asks(Impatient):
    retry = Retry(max_attempts=1)

    async def perform(self, *items: Item) -> None:
        queue: Any = self.queue
        with pytest.raises(HandlerError, match="a handler cannot wait for results"):
            await queue.call(Double, items[0])
        with pytest.raises(HandlerError, match="a handler cannot wait for results"):
            async with queue.map(Double, items):
                pass
        diary.add("asked")


async def test_a_handler_cannot_wait_for_results(queue: Queue, worker: Worker) -> None:
    await queue.register(Asks, Item(0, 1))
    await run(worker, 1, handler=Asks)
    assert diary.of("asked") == [()]


class Hurries(Double):
    retry = Retry(max_attempts=1)

    def perform(self, *items: Item) -> list[int]:
        self.acknowledge_sync(1)
        return super().perform(*items)


async def test_a_part_of_a_batch_with_callers_cannot_be_acknowledged(queue: Queue, worker: Worker) -> None:
    async with working(worker):
        with pytest.raises(RequestFailed, match="do not acknowledge a part"):
            await queue.call(Hurries, Item(0, 1))


@pytest.mark.requires("multiprocess")
async def test_a_handler_that_no_worker_serves(backend: Backend) -> None:
    queue = Queue(backend.storage)
    with pytest.raises(NotServed, match="no living worker serves"):
        await queue.call(Double, Item(0, 1))
    with pytest.raises(NotServed):
        async with queue.map(Double, [Item(0, 1)]):
            pass
    assert list(await queue.storage.pipes()) == []

    async with working(new_worker(backend, queue)):
        name = handler_name(Double)
        await eventually(lambda: queue.storage.serving(name), "the worker looks for work")
        assert await queue.call(Double, Item(0, 1)) == 2


async def test_a_request_of_another_type_is_refused(queue: Queue) -> None:
    with pytest.raises(RequestError):
        await queue.call(Double, "text")
    await nothing_is_left(queue)


# Time-outs, cancellations, and callers that leave


async def test_a_call_that_takes_too_long_is_cancelled(queue: Queue) -> None:
    with pytest.raises(ResultTimeout, match="came within"):
        await queue.call(Double, Item(0, 1), timeout_s=NEVER_S)
    await nothing_is_left(queue)
    async with queue.map(Double, items(10), timeout_s=NEVER_S) as results:
        with pytest.raises(TimeoutError):
            await anext(aiter(results))
    await nothing_is_left(queue)


async def test_a_cancelled_call_takes_its_request_along(queue: Queue, worker: Worker) -> None:
    first = await suspended(queue.call(Double, Item(0, 1)))
    second = await suspended(queue.call(Double, Item(0, 2)))
    third = await suspended(queue.call(Double, Item(0, 3)))

    await cancelled(first)
    assert await queue.storage.length(f"{Double.__module__}/Double/0/0") == 2

    async with working(worker):
        assert (await finished(second), await finished(third)) == (4, 6)
        await nothing_is_left(queue)
    assert numbers_done() == [2, 3]


class Gated(Double):
    batch_size = 4

    async def perform(self, *items: Item) -> list[int]:  # type: ignore[override]
        diary.add("begun", *(item.number for item in items))
        await diary.gate.wait()
        return super().perform(*items)


async def test_the_result_of_a_caller_that_left_goes(queue: Queue, worker: Worker) -> None:
    async with working(worker):
        call = asyncio.create_task(queue.call(Gated, Item(0, 1)))
        await diary.until("begun")
        await cancelled(call)
        diary.gate.set()

        await nothing_is_left(queue)
    assert numbers_done() == [1]


async def test_leaving_the_block_cancels_what_is_not_started(queue: Queue, worker: Worker) -> None:
    async with working(worker):
        async with queue.map(Gated, items(100, threads=1), window=20) as results:
            reading = asyncio.create_task(anext(aiter(results)))
            await diary.until("begun")
            await cancelled(reading)
        diary.gate.set()
        await nothing_is_left(queue)
    begun = diary.of("begun")
    assert len(begun) == 1
    assert len(numbers_done()) == len(begun[0]) < 20


@pytest.mark.parametrize("abandon", [True, False])
async def test_requests_without_their_caller(queue: Queue, worker: Worker, *, abandon: bool) -> None:
    """As where its process died: nothing is cancelled, and the inbox has no claim."""
    inbox = inboxes.OpenInbox(queue.storage)
    for number in range(3):
        call = await queue.sealed(Double, [Item(0, number)], inbox.number, number, abandon=abandon)
        await queue.stored(call)
        await queue.register(Double, Item(0, 10 + number))

    async with working(worker):
        await nothing_is_left(queue)

    assert sorted(numbers_done()) == ([10, 11, 12] if abandon else [0, 1, 2, 10, 11, 12])


class Only(Double):
    """A single attempt: whatever is counted shows."""

    retry = Retry(max_attempts=1)


async def test_a_storage_that_does_not_say_whether_the_caller_waits_fails_no_request(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(key: str) -> bool:
        raise StorageUnavailable("no answer")

    call = await suspended(queue.call(Only, Item(0, 1)))
    with monkeypatch.context() as patch:
        patch.setattr(queue.storage, "claimed", unreachable)
        with pytest.raises(StorageUnavailable):
            await run(worker)
    assert numbers_done() == []

    async with working(worker):
        assert await finished(call) == 2
    await nothing_is_left(queue)


async def test_the_failure_of_a_caller_that_is_gone_is_a_dead_letter(queue: Queue, worker: Worker) -> None:
    trouble[1] = lambda: ValueError("as planned")
    call = await queue.sealed(Double, [Item(0, 1)], 1, 0, abandon=False)
    await queue.stored(call)

    async with working(worker):
        assert await queue.storage.wait_for_quiet(LIMIT_S)
    [buried] = await queue.dead_letters.list()
    del trouble[1]
    assert await queue.dead_letters.requeue(buried)
    async with working(worker):
        await nothing_is_left(queue)
    assert numbers_done()[-1] == 1


# Maps


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("window", "many"), [(None, 300), (1, 60), (7, 60)])
async def test_a_map_has_a_result_for_each_request(
    queue: Queue, worker: Worker, window: int | None, many: int, *, ordered: bool
) -> None:
    async with working(worker):
        async with queue.map(Double, items(many), window=window, ordered=ordered) as results:
            found = [result async for result in results]
        assert (found if ordered else sorted(found)) == [2 * number for number in range(many)]
        await nothing_is_left(queue)


async def test_a_map_of_nothing(queue: Queue) -> None:
    async with queue.map(Double, []) as results:
        assert [result async for result in results] == []
    await nothing_is_left(queue)

    for outside in (results, queue.map(Double, [])):
        with pytest.raises(HandlerError, match="inside of its block: write `async with"):
            await anext(outside)


async def test_an_infinite_input_is_read_as_results_are_consumed(queue: Queue, worker: Worker) -> None:
    read = count()
    async with working(worker):
        async with queue.map(Double, (Item(next(read) % 3, 1) for _ in count()), window=10) as results:
            consumed = 0
            async for _ in results:
                consumed += 1
                if consumed == 100:
                    break
        assert next(read) <= 110
        await nothing_is_left(queue)


async def test_an_asynchronous_input_is_sent_as_it_comes(queue: Queue, worker: Worker) -> None:
    more = asyncio.Queue[Item | None]()

    async def coming() -> AsyncIterator[Item]:
        while item := await more.get():
            yield item

    async with working(worker):
        async with queue.map(Double, coming(), window=4) as results:
            found = aiter(results)
            for number in range(10):
                more.put_nowait(Item(0, number))
                assert await anext(found) == 2 * number  # although more may come
            for number in range(50):
                more.put_nowait(Item(0, number))
            more.put_nowait(None)
            assert [result async for result in found] == [2 * number for number in range(50)]
        await nothing_is_left(queue)


async def test_leaving_ends_the_wait_for_an_asynchronous_input(queue: Queue, worker: Worker) -> None:
    ended = False

    async def coming() -> AsyncIterator[Item]:
        nonlocal ended
        try:
            yield Item(0, 1)
            await asyncio.Event().wait()
        finally:
            ended = True

    async with working(worker), queue.map(Double, coming()) as results:
        assert await anext(aiter(results)) == 2
    assert ended


async def test_a_slow_consumer_keeps_the_window(queue: Queue, worker: Worker) -> None:
    most = 0
    async with working(worker), queue.map(Double, items(60), window=8) as results:
        done = 0
        async for _ in results:
            done += 1
            await asyncio.sleep(0)
            most = max(most, len(numbers_done()) - done + 1)
    assert most <= 8


async def test_results_are_handed_out_while_a_slow_input_is_read(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "_SENDING_S", 0.0)  # each input is slow
    read = count()
    async with working(worker):
        async with queue.map(Double, (Item(0, next(read)) for _ in count()), window=100_000) as results:
            assert await anext(aiter(results)) == 0
        assert next(read) < 100_000
        await nothing_is_left(queue)


class Heavy(Handler[Item, bytes]):
    """The first request takes until the gate is open; all others have large results at once."""

    batch_size = 4

    @classmethod
    def route(cls, *items: Item) -> list[Route]:
        return [Route(item.thread) for item in items]

    async def perform(self, *items: Item) -> list[bytes]:
        if items[0].number == 0:
            await diary.gate.wait()
        diary.add("batch", *(item.number for item in items))
        return [bytes(8192) for _ in items]


@pytest.mark.requires("bounded")
async def test_large_results_before_their_turn_hold_the_input_back(
    open_backend: OpenBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "_SENDING_S", 0.0)
    backend = open_backend(MIB)
    queue = await served(backend.storage)
    read, looks = 0, deque[int](maxlen=10)

    def requests() -> Iterator[Item]:
        nonlocal read
        for read in count(1):
            yield Item(min(read - 1, 1), read - 1)

    def reads_no_more() -> bool:
        looks.append(read)
        return len(looks) == 10 and len(set(looks)) == 1 and len(numbers_done()) == read - 1

    async with working(new_worker(backend, queue)), working(new_worker(backend, queue)):
        async with queue.map(Heavy, requests(), window=2_000) as results:
            found = aiter(results)
            first = asyncio.create_task(anext(found))
            await eventually(reads_no_more, "all but the first are done")
            diary.gate.set()
            assert await first == await anext(found) == bytes(8192)
            assert read < 1_000
        await nothing_is_left(queue)


async def test_the_first_failure_ends_a_map(queue: Queue, worker: Worker) -> None:
    trouble[5] = lambda: ValueError("five")
    found = []

    async def read() -> None:
        async with queue.map(Double, items(100, threads=1), window=10) as results:
            async for result in results:
                found.append(result)

    async with working(worker):
        with pytest.raises(RequestFailed, match="five"):
            await read()
        await nothing_is_left(queue)
    assert found == [0, 2, 4, 6, 8]


async def test_outcomes_go_on_behind_a_failure(queue: Queue, worker: Worker) -> None:
    trouble[5] = lambda: ValueError("five")
    async with working(worker), queue.map(Double, items(10), outcomes=True) as results:
        found = [outcome async for outcome in results]

    assert [outcome.index for outcome in found] == list(range(10))
    assert [outcome.request for outcome in found] == list(items(10))
    assert [outcome.value for outcome in found] == [None if n == 5 else 2 * n for n in range(10)]
    assert isinstance(found[5].error, RequestFailed)
    assert found[5].attempts == 3
    assert all(outcome.waited_s >= 0 <= outcome.worked_s for outcome in found)


async def test_a_result_that_comes_again_counts_once(queue: Queue) -> None:
    """As where a server lost an acknowledgement: the requests are handled again, now with others in their batch."""
    async with queue.map(Double, items(3, threads=1), window=3, timeout_s=LIMIT_S) as results:
        found = aiter(results)
        reading = await suspended(anext(found))  # type: ignore[arg-type]
        batch = await queue.storage.range(f"{handler_name(Double)}/0/0", 3)
        head, _ = split(batch.messages[0])
        assert head
        for numbers in ((0, 1), (0, 1, 2)):
            reply = success(numbers, encode_results(int, [2 * number for number in numbers]), batch, 0)
            await queue.storage.append([(inbox_pipe(head.inbox), [reply])])
        assert [await finished(reading), *[result async for result in found]] == [0, 2, 4]


async def test_a_map_has_a_summary(queue: Queue, worker: Worker) -> None:
    trouble[5] = lambda: ValueError("five")
    async with working(worker), queue.map(Double, items(10), outcomes=True) as results:
        assert results.summary.requests == 0
        found = [outcome async for outcome in results]
        summary = results.summary

    assert results.summary == summary  # it ended with the last result
    assert (summary.requests, summary.failures) == (10, 1)
    assert summary.worked_s == pytest.approx(sum(outcome.worked_s for outcome in found), abs=1e-6)
    assert str(summary).startswith("10 requests in ")


async def test_a_map_that_is_cancelled_says_how_far_it_came(queue: Queue, worker: Worker) -> None:
    async def read(*, ordered: bool) -> None:
        async with queue.map(Double, items(10), ordered=ordered) as results:
            async for _ in results:
                raise asyncio.CancelledError

    async with working(worker):
        with pytest.raises(asyncio.CancelledError) as left:
            await read(ordered=True)
        assert "1 result had been taken" in left.value.__notes__[0]
        assert "islice(requests, 1, None)" in left.value.__notes__[0]
        with pytest.raises(asyncio.CancelledError) as left:
            await read(ordered=False)
        assert "in which they came" in left.value.__notes__[0]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("window", [4, 1000])
async def test_an_error_of_the_input_comes_behind_the_results_of_what_came_before(
    queue: Queue, worker: Worker, window: int, ordered: bool
) -> None:
    def broken() -> Iterator[Any]:
        yield from items(10)
        raise KeyError("input")

    async def broken_later() -> AsyncIterator[Any]:
        for item in broken():
            yield item

    def malformed() -> Iterator[Any]:
        yield from items(10)
        yield "text"
        raise KeyError("it is not read")

    async with working(worker):
        for requests, kind in ((broken(), KeyError), (broken_later(), KeyError), (malformed(), RequestError)):
            async with queue.map(Double, requests, window=window, ordered=ordered) as results:
                found = [await anext(results) for _ in range(10)]
                with pytest.raises(kind) as raised:
                    await anext(results)
            assert sorted(found) == [2 * n for n in range(10)]
            assert kind is KeyError or "number 10" in raised.value.__notes__[-1]
        await nothing_is_left(queue)


async def test_a_window_that_cannot_be(queue: Queue) -> None:
    with pytest.raises(ConfigurationError, match="window=0"):
        async with queue.map(Double, [], window=0):
            pass


async def test_a_map_without_a_loop(queue: Queue, worker: Worker) -> None:
    def mapped() -> list[int]:
        with queue.map_sync(Double, items(300), window=50) as results:
            return list(results)

    def left() -> int:
        with queue.map_sync(Double, items(300), window=50) as results:
            first = next(iter(results))
        for outside in (results, queue.map_sync(Double, [])):
            with pytest.raises(HandlerError, match="inside of its block"):
                next(iter(outside))
        return first

    def streamed() -> Generator[int, None, None]:
        with queue.map_sync(Double, items(300), window=50) as results:
            yield from results

    async with working(worker):
        assert await asyncio.to_thread(mapped) == [2 * number for number in range(300)]
        assert await asyncio.to_thread(left) == 0
        stream = streamed()
        assert await asyncio.to_thread(next, stream) == 0
        stream.close()  # where a loop runs, as garbage is collected there of what a web server gave up
        with pytest.raises(HandlerError, match="async with"), queue.map_sync(Double, []):
            pass
        await nothing_is_left(queue)


@pytest.mark.requires("bounded")
async def test_a_map_through_a_storage_that_is_nearly_full(open_backend: OpenBackend) -> None:
    backend = open_backend(MIB)
    queue = await served(backend.storage)
    size = backend.storage.limits.message_bytes // 20
    async with working(new_worker(backend, queue)):
        async with queue.map(Large, [size] * 60, window=60) as results:
            assert [len(result) async for result in results] == [size] * 60
        await nothing_is_left(queue)


# With outputs


class Sends(Double):
    def perform(self, *items: Item) -> list[int]:
        self.emit_sync(Silent, *items)
        return super().perform(*items)


async def test_results_and_outputs_leave_together(queue: Queue, worker: Worker) -> None:
    def fail_once() -> BaseException:
        del trouble[7]
        return ValueError("once")

    trouble[7] = fail_once
    async with working(worker):
        async with queue.map(Sends, items(20)) as results:
            assert [result async for result in results] == [2 * number for number in range(20)]
        await nothing_is_left(queue)
    assert sorted(numbers_done()).count(7) >= 3  # failed once, done once, and its output


# Serializers of one's own


class Plain:
    """Text, as a serializer that decodes anything."""

    def encode(self, request_type: Any, requests: Sequence[Any]) -> list[bytes]:
        return [request.encode() if isinstance(request, str) else bytes(request) for request in requests]

    def decode(self, request_type: Any, batch: Any) -> list[Any]:
        return [message.decode("latin-1") for message in batch.messages]


class Shout(Handler[str, str]):
    def perform(self, *texts: str) -> list[str]:
        return [text.upper() for text in texts]


async def test_a_serializer_of_ones_own(backend: Backend) -> None:
    queue = await served(backend.storage, Plain())
    async with working(new_worker(backend, queue)):
        assert await queue.call(Shout, "text") == "TEXT"
        await queue.register(Shout, "other")
        await nothing_is_left(queue)

    class Marked(Plain):
        def encode(self, request_type: Any, requests: Sequence[Any]) -> list[bytes]:
            return [b"\xc1\x50" for _ in requests]

    with pytest.raises(RequestError, match="0xC150"):
        await Queue(backend.storage, Marked()).register(Shout, "text")


async def test_another_thread_may_call(queue: Queue, worker: Worker) -> None:
    async with working(worker):
        assert await in_thread(lambda: queue.call(Double, Item(0, 2))) == 4


def test_inboxes_have_the_name_that_drivers_know() -> None:
    assert handler_name(inboxes.Inbox) == INBOX


async def test_an_exception_that_raises_where_it_is_asked_for_its_class_ends_a_map_like_others(
    queue: Queue, worker: Worker
) -> None:
    ended = False
    async with working(worker):
        try:
            async with queue.map(Double, items(10), window=2) as results:
                async for _ in results:
                    raise BadClass
        except BadClass:
            ended = True
        await nothing_is_left(queue)
    assert ended
