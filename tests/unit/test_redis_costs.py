"""What a storage on a server asks of it, counted: points 4, 5 and 7 to 10 of what storages on a server must show."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from random import Random
from typing import ClassVar

import pytest

from shardq import Handler, Queue, Route, Worker
from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.wire import Wire
from shardq.drivers.redis.lock import RedisLock
from shardq.drivers.redis.servers.layout import Layout
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.hands import decoded
from shardq.drivers.redis.verbs.records import bodies_of
from shardq.drivers.redis.verbs.rooms import NO_ROOM
from shardq.model import Hand, Terms, When, handler_name
from shardq.outputs import Output
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.redis_server import removed_when_right, running_server
from tests.support.tasks import LIMIT_S, cancelled
from tests.unit.queue_handlers import Job

HANDLER = "app.jobs/Resize"
#: Makes a storage ready, and gives what is measured.
Begin = Callable[[RedisStorage], Awaitable[Callable[[], Awaitable[object]]]]
KEY, PIPE, GRAVE = f"{HANDLER}/7", f"{HANDLER}/7/0", f"{HANDLER}/dead/0"
TERMS = {HANDLER: Terms((0,), 128)}
#: Requests of a full batch.
BATCH = 128
#: Of what a script calls: with a microsecond or two for each it stays far below 5 ms.
MOST_COMMANDS = 2600


class Spread(Handler[Job]):
    """In 16 threads."""

    @classmethod
    def route(cls, *requests: Job) -> list[Route]:
        return [Route(request.number % 16) for request in requests]

    def handle(self, *requests: Job) -> None:
        pass


class Stopping(Spread):
    """Notes the sizes of batches, and stops a worker that handled so many requests."""

    sizes: ClassVar[list[int]] = []
    stop_after: ClassVar[tuple[int, Worker]]

    def handle(self, *requests: Job) -> None:
        self.sizes.append(len(requests))
        number, worker = self.stop_after
        if sum(self.sizes) == number:
            worker.stop()


def opened(prefix: str, partitions: int = 1) -> RedisStorage:
    address = Address(path=str(running_server().socket))
    return RedisStorage(address, StorageSettings(prefix=prefix), partitions=partitions)


@pytest.fixture
async def storage() -> AsyncIterator[RedisStorage]:
    storage = opened(f"{segment_name()}_")
    await storage.server.layout()
    yield storage
    await removed_when_right(storage)


@pytest.fixture
async def queue(storage: RedisStorage) -> Queue:
    return Queue(storage)


async def scripts_run(storage: RedisStorage) -> int:
    """By all clients of the server since it was started."""
    stats = (await storage.server.ask(b"INFO", b"commandstats")).decode()
    return sum(map(int, re.findall(r"^cmdstat_eval(?:sha)?:calls=(\d+)", stats, re.MULTILINE)))


async def scripts_for(queue: Queue, worker: Worker, batches: int) -> int:
    """Scripts that a worker runs for so many full batches."""
    storage = queue.storage
    assert isinstance(storage, RedisStorage)
    await queue.register(Stopping, *map(Job, range(BATCH * batches)))
    Stopping.sizes, Stopping.stop_after = [], (BATCH * batches, worker)
    before = await scripts_run(storage)
    await worker.loop()
    assert Stopping.sizes == [BATCH] * batches
    return await scripts_run(storage) - before


async def test_05_a_worker_runs_one_script_a_batch(storage: RedisStorage, queue: Queue) -> None:
    worker = Worker(RedisLock(storage), queue)
    await scripts_for(queue, worker, 16)  # one in each thread: the server has the scripts from now on
    assert await scripts_for(queue, worker, 64) <= 1.1 * 64


@pytest.mark.parametrize("partitions", [1, 8])
async def test_05_a_call_is_one_flush_and_a_script_for_each_partition(
    partitions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = opened(f"{segment_name()}_", partitions)
    queue, layout = Queue(storage), await storage.server.layout()
    touched = {layout.partition_of(f"{handler_name(Spread)}/{thread}") for thread in range(16)}
    await queue.register(Spread, *map(Job, range(16)))  # from now on the server has the script
    flushes, send, before = list[bytes](), Wire.sent, await scripts_run(storage)
    with monkeypatch.context() as patched:
        patched.setattr(Wire, "sent", lambda *its: flushes.append(its[1]) or send(*its))  # type: ignore[func-returns-value]
        await queue.register(Spread, *map(Job, range(10_000)))
    assert len(flushes) == 1
    assert await scripts_run(storage) - before == len(touched)
    await removed_when_right(storage)


@pytest.mark.parametrize("threads", [1, 16])
async def test_08_a_message_takes_at_most_eight_bytes_more(storage: RedisStorage, threads: int) -> None:
    calls, message = 400, b"of twenty-one bytes.."
    before = await used_bytes(storage)
    for _ in range(calls):
        each = [message] * (BATCH // threads)
        await storage.append([(f"{HANDLER}/{thread}/0", each) for thread in range(threads)])
    beyond = (await used_bytes(storage) - before) / (calls * BATCH) - len(message)
    assert 0 < beyond <= 8


async def used_bytes(storage: RedisStorage) -> int:
    """Of all keys."""
    layout = await storage.server.layout()
    sizes = [await storage.server.ask(b"MEMORY", b"USAGE", key, b"SAMPLES", b"0") for key in layout.keys_of(0)]
    return sum(size or 0 for size in sizes)


async def test_09_one_message_does_not_wake_all_that_sleep(storage: RedisStorage) -> None:
    """As four families of eight workers."""
    families = [opened(storage.settings.prefix) for _ in range(4)]
    workers = [asyncio.create_task(family.rest(None, None, TERMS)) for family in families for _ in range(8)]
    asleep = (await storage.server.layout()).key(0, "SLEEPS")
    while await storage.server.ask(b"HLEN", asleep) < len(workers):
        pass

    before = await scripts_run(storage)
    await storage.append([(PIPE, [b"a"])])
    done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
    for family in families * 3:  # what was sent to a sleeper comes before these answers
        await family.server.ask(b"PING")
    ran = await scripts_run(storage) - before

    assert [task.result().batch.messages for task in done] == [[b"a"]]
    assert ran - 1 <= 4
    for worker in workers:
        if worker not in done:
            await cancelled(worker)
    for family in families:
        await family.close()


async def test_10_those_that_sleep_leave_no_span_without_a_look(storage: RedisStorage) -> None:
    """The spans of the safety net are so long here that none passes."""
    random, net_us, begun = Random(0), 10**15, await storage.server.now_us()
    asleep, first = dict[str, int](), None
    for number in range(100):
        if len(asleep) == 9:
            for leaves in random.sample(list(asleep), random.randint(1, 9)):
                await storage.server.run("leave", 0, {"sleeper": leaves})
                del asleep[leaves]
        name = f"{storage.server.prefix}bell:none#{random.randrange(100)}-{number}"
        told = decoded(await storage.server.run("look", 0, {"served": [HANDLER], "sleeper": name, "net_us": net_us}))
        looks_at_us = begun + told["looks_in_us"]
        first = first or looks_at_us
        span = round((looks_at_us - first) / net_us)
        assert span == min(set(range(10)) - set(asleep.values()))
        asleep[name] = span


async def test_10_a_look_that_is_made_again_leaves_no_former_span(storage: RedisStorage) -> None:
    """As where the answer to the first one was lost, and its span is over by then."""
    name = f"{storage.server.prefix}bell:none#1"
    for net_us in (10**15, 10**14):
        await storage.server.run("look", 0, {"served": [HANDLER], "sleeper": name, "net_us": net_us})
    assert await wrongs(storage.server) == []
    await storage.server.run("leave", 0, {"sleeper": name})
    assert await wrongs(storage.server) == []


async def test_10_of_calls_that_wait_for_room_one_looks_in_a_span(storage: RedisStorage) -> None:
    """Each brings all that it is to store."""
    net_us, begun, [body] = 10**15, await storage.server.now_us(), bodies_of([b"x"])
    looks = list[float]()
    for number in range(5):
        name = f"{storage.server.prefix}bell:none#{number}"
        told = {"pipes": [PIPE], "most": 0, "sleeper": name, "net_us": net_us}
        taken, looks_in_us = await storage.server.run("append", 0, told, body)
        assert taken == NO_ROOM
        looks.append(begun + looks_in_us)
    assert [round((at - looks[0]) / net_us) for at in looks] == [0, 1, 2, 3, 4]


async def in_one_tube(storage: RedisStorage, number: int) -> None:
    for first in range(0, number, 1000):
        await storage.append([(PIPE, [b"%d" % each for each in range(first, first + 1000)])])


async def in_one_grave(storage: RedisStorage, number: int) -> Hand:
    """So many letters, and a message in hand."""
    await in_one_tube(storage, number + 1000)
    token = await storage.claim(KEY, lease_s=3600)
    batch = await storage.take(KEY, token, Terms((0,), number + 1))
    hand = Hand(KEY, token, batch)
    numbers = batch.numbers[:number]
    await asyncio.gather(*(storage.bury(hand, each, GRAVE, b"letter") for each in numbers))
    return hand


async def letters_dropped(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    await in_one_grave(storage, 2000)
    numbers = (await storage.range(GRAVE, 2000)).sequences
    assert numbers is not None
    return lambda: storage.drop(GRAVE, *numbers)


async def letters_that_make_room(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    hand = await in_one_grave(storage, 2000)
    storage.settings.dead_letters = 1
    return lambda: storage.bury(hand, hand.batch.numbers[2000], GRAVE, b"letter")


async def equal_messages(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    """The first call that asks for them, of many messages."""
    await in_one_tube(storage, 10_000)
    return lambda: storage.append([(PIPE, [b"1", b"new"])], absent=True)


async def removal(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    await storage.append([(PIPE, [b"1", b"new"])], absent=True)
    await in_one_tube(storage, 10_000)
    return lambda: storage.remove(PIPE, *(b"%d" % each for each in range(10_000)))


async def new_messages(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    queue = Queue(storage)
    await queue.register(Spread, Job(10_000), defer=3600)  # from now on it is asked what waits, too
    return lambda: queue.register(Spread, *map(Job, range(10_000)), if_not_exists=True)


async def deferred(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    return lambda: Queue(storage).register(Spread, *map(Job, range(10_000)), defer=3600)


async def recurrent(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    return lambda: Queue(storage).register(Spread, *map(Job, range(2000)), recurrent=3600)


async def room_for_many_that_wait(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    """The server wakes some, and each that finds room another one: none of them has to look by itself."""
    storage.settings.capacity_bytes, storage.settings.safety_net = 1 << 20, 3600.0
    all_of_it = bytes(storage.limits.message_bytes)
    assert await storage.append([(PIPE, [all_of_it])])
    parts = [(f"{HANDLER}/8/0", [bytes(100_000)])], [(f"{HANDLER}/8/0", [b"x"])]
    number = 700
    waiting = [asyncio.create_task(storage.append_when_room(parts[place > 0])) for place in range(number)]
    asleep = (await storage.server.layout()).key(0, "SLEEPS")
    while await storage.server.ask(b"HLEN", asleep) < number:
        pass

    async def go_on() -> None:
        await storage.remove(PIPE, all_of_it)
        async with asyncio.timeout(LIMIT_S):
            assert sum(await asyncio.gather(*waiting)) == number  # type: ignore[arg-type]

    return go_on


async def leases(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    keys = [f"{HANDLER}/{thread}" for thread in range(1000)]
    tokens = await asyncio.gather(*(storage.claim(key, 3600) for key in keys))

    async def renew() -> None:
        assert all(await storage.lease(*((key, token, 3600) for key, token in zip(keys, tokens, strict=True))))

    return renew


async def recurrent_at_one_time(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    """The last page of a listing."""
    await Queue(storage).register(Spread, *map(Job, range(5000)), recurrent=3600)
    due_us = (await storage.scheduled(limit=1))[0].due_us
    return lambda: storage.scheduled((due_us, "9" * 16, 0))


async def cancellation(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    queue = Queue(storage)
    await queue.register(Spread, *map(Job, range(10_000)), defer=3600)
    return lambda: queue.cancel(Spread, *map(Job, range(10_000)))


async def cancellation_of_equal_ones(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    await asyncio.gather(*(storage.append([(PIPE, [b"equal"])], when=When(after_us=10**10)) for _ in range(1000)))

    async def cancel() -> None:
        assert await storage.remove(PIPE, b"equal") == 1000

    return cancel


async def what_is_due(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    await Queue(storage).register(Spread, *map(Job, range(5000)), defer=10**-3)
    return storage.promote


async def large_call_beside_unique_ones(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    await storage.append([(PIPE, [b"unique"])], absent=True)
    numbers = [b"%d" % each for each in range(10_000)]

    async def both() -> None:
        await storage.append([(PIPE, numbers)])
        assert await storage.append([(PIPE, numbers[-1:])], absent=True) == 0

    return both


def outputs(when: When | None, *, absent: bool, partitions: int = 1) -> Begin:
    """In one acknowledgement, for a storage of so many partitions."""

    async def begin(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
        storage.server.known = Layout(storage.settings.prefix, partitions)
        await in_one_tube(storage, 1000)
        token = await storage.claim(KEY, 3600)
        hand = Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 1)))
        pipes = [f"{HANDLER}/{thread}/0" for thread in range(2 * partitions)]
        messages = [b"%d" % each for each in range(5000)]

        async def send() -> None:
            assert await storage.pop(hand, 1, [Output(pipe, messages, when, absent) for pipe in pipes])
            await storage.promote()  # what is still on its way comes as well

        return send

    return begin


async def large_call(storage: RedisStorage) -> Callable[[], Awaitable[object]]:
    """As large as one may be."""
    limits = storage.limits
    each = [b"x"] * (limits.messages // limits.parts)
    return lambda: storage.append([(f"{HANDLER}/{thread}/0", each) for thread in range(limits.parts)])


@pytest.mark.parametrize(
    "begin",
    [
        *(letters_dropped, letters_that_make_room, equal_messages, removal, large_call, large_call_beside_unique_ones),
        *(room_for_many_that_wait, leases),
        *(new_messages, deferred, what_is_due, recurrent, recurrent_at_one_time),
        *(cancellation, cancellation_of_equal_ones),
        pytest.param(outputs(When(after_us=10**10), absent=False), id="outputs-later"),
        pytest.param(outputs(None, absent=True), id="outputs-absent"),
        pytest.param(outputs(None, absent=True, partitions=2), id="outputs-absent-elsewhere"),
    ],
)
async def test_04_no_script_is_long(storage: RedisStorage, begin: Begin) -> None:
    commands = await commands_within(storage, await begin(storage))
    assert commands
    assert max(commands) <= MOST_COMMANDS


@pytest.mark.parametrize("absent", [False, True])
async def test_07_scripts_do_no_more_where_more_is_queued(storage: RedisStorage, absent: bool) -> None:
    counts = list[int]()
    for number in (1000, 20_000):
        await in_one_tube(storage, number)
        await steps(storage, 2, absent)
        counts.append(sum(await commands_within(storage, partial(steps, storage, 8, absent))))
    few, many = counts
    assert many <= 1.1 * few


async def steps(storage: RedisStorage, number: int, absent: bool) -> None:
    """Calls come, and as many batches go."""
    hand = await storage.turn(None, None, TERMS)
    for step in range(number):
        await storage.append([(PIPE, [b"%d, %d" % (step, each) for each in range(BATCH)])], absent=absent)
        hand = await storage.turn(hand, None, TERMS)
    assert hand
    await storage.unclaim(hand.key, hand.token)


async def commands_within(storage: RedisStorage, work: Callable[[], Awaitable[object]]) -> list[int]:
    """How many commands each script calls meanwhile, and a quarter of its arguments: one takes so much less time."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(running_server().socket))
        monitor.sendall(b"MONITOR\r\n")
        assert monitor.recv(5) == b"+OK\r\n"
        await work()
        await storage.server.ask(b"PING", b"end of the test")
        said, seen = bytearray(), 0
        while said.find(b"end of the test", seen) < 0:
            seen = max(0, len(said) - 100)
            said += monitor.recv(1 << 20)

    commands = list[int]()
    for line in said.splitlines():
        if re.search(rb'\] "EVAL(?:SHA)?" ', line):
            commands.append(line.count(b'" "') // 4)
        elif b"lua] " in line:
            commands[-1] += 1
    return commands
