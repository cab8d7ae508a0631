"""`python -m shardq take-over`: what the real `sharded-queue` has on a real server goes into any storage."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sharded_queue
from dateutil.rrule import DAILY, rrule
from redis.asyncio import Redis
from sharded_queue.drivers import RedisLock as AncestorLock
from sharded_queue.drivers import RedisStorage as AncestorStorage
from sharded_queue.settings import LockSettings, StorageSettings

from shardq import Handler, Queue, cli, connect
from shardq.drivers.redis.ancestor import AncestorServer
from shardq.errors import RequestError, SegmentMissing
from shardq.model import Standing, handler_name
from shardq.moving import mover
from shardq.moving.ancestor import Ancestor, Translator
from shardq.pages import each
from tests.support.drivers import Backend
from tests.support.leaks import segment_name
from tests.support.letters import Charge, SignIn
from tests.support.migrated import Area, Crop, Letter, Picture, Point, Resize, Send
from tests.support.moving import MOVING
from tests.support.redis_server import running_server
from tests.support.tasks import LIMIT_S, finished
from tests.support.workers import new_worker

MODULE = Resize.__module__
HANDLERS = {handler_name(its): its for its in (Resize, Crop, Send)}

Command = Callable[..., Awaitable[str]]


def server_url() -> str:
    """Of the user who may do everything."""
    return f"redis+unix://{running_server().socket}"


def ancestor_of(handler: type[Handler[Any]], route: Callable[[Any], sharded_queue.Route]) -> Any:
    """The handler as it was with `sharded-queue`."""

    async def routed(cls: Any, *requests: Any) -> list[Any]:
        return [route(request) for request in requests]

    content = {"__module__": handler.__module__, "route": classmethod(routed)}
    return type(handler.__name__, (sharded_queue.Handler,), content)


OldResize = ancestor_of(Resize, lambda picture: sharded_queue.Route(picture.at.x, picture.at.y))
OldCrop = ancestor_of(Crop, lambda area: sharded_queue.Route(area.left % 3))
OldSend = ancestor_of(Send, lambda letter: sharded_queue.Route())

PICTURES = [Picture(f"p{number}", number / 2, Point(number % 4, number % 2), ("a", "b")) for number in range(300)]
AREAS = [Area(number, number + 1, "x" if number % 2 else None) for number in range(40)]
LETTERS = [Letter(to=f"you-{number}", lines=["one", "two"]) for number in range(5)]
RULE = rrule(DAILY, dtstart=datetime(2026, 1, 1, 8, 30))
#: A rule whose last time has come.
OVER = rrule(DAILY, dtstart=datetime(2020, 1, 1), until=datetime(2020, 2, 1))


class Old:
    """The storage of `sharded-queue`."""

    def __init__(self, redis: Any, prefix: str) -> None:
        self.redis, self.prefix = redis, f"{prefix}tube_"
        self.lock_prefix = f"{prefix}lock_"
        self.storage = AncestorStorage(redis, StorageSettings(prefix=self.prefix))
        self.lock = AncestorLock(redis, LockSettings(prefix=self.lock_prefix))
        self.queue: Any = sharded_queue.Queue(self.storage)

    async def fill(self) -> None:
        await self.queue.register(OldResize, *PICTURES)
        await self.queue.register(OldCrop, *AREAS)
        await self.queue.register(OldSend, *LETTERS)

    async def lists(self) -> dict[str, list[str]]:
        pipes = [pipe for pipe in await self.storage.pipes() if "/" in pipe]
        return {pipe: await self.storage.range(pipe, 10_000) for pipe in pipes}


@pytest.fixture
async def old() -> AsyncIterator[Old]:
    prefix = f"{segment_name()}_"
    redis = Redis(unix_socket_path=str(running_server().socket), decode_responses=True)
    yield Old(redis, prefix)
    keys = [key async for key in redis.scan_iter(f"*{prefix}*")]
    if keys:
        await redis.delete(*keys)
    await redis.aclose()
    assert [key for key in keys if "take-over" in key] == []


@pytest.fixture(params=MOVING, ids=lambda driver: driver.name)
async def target(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    backend = request.param.make(None)
    yield backend
    await backend.discard()


@pytest.fixture
def command(old: Old, target: Backend, capfd: pytest.CaptureFixture[str]) -> Command:
    async def run(*words: str, code: int = cli.OK) -> str:
        prefixes = ("--prefix", old.prefix, "--lock-prefix", old.lock_prefix)
        given = ("take-over", server_url(), target.url, *(words or (MODULE,)), *prefixes)
        assert await asyncio.to_thread(cli.main, given) == code
        said = capfd.readouterr()
        return said.out + said.err

    return run


async def requests_in(target: Backend, handler: Any, thread: int, priority: int = 0) -> list[Any]:
    pipe = f"{handler_name(handler)}/{thread}/{priority}"
    batch = await target.storage.range(pipe, 10_000)
    kind = {Resize: Picture, Crop: Area, Send: Letter}[handler]
    return Queue(target.storage).serializer.decode(kind, batch) if batch.count else []


async def test_all_requests_are_there_in_their_tubes_and_order(old: Old, target: Backend, command: Command) -> None:
    await old.fill()

    assert "345 requests" in await command(MODULE)

    for thread, priority in itertools.product(range(4), range(2)):
        wanted = [picture for picture in PICTURES if picture.at == (thread, priority)]
        assert await requests_in(target, Resize, thread, priority) == wanted
    for thread in range(3):
        assert await requests_in(target, Crop, thread) == [area for area in AREAS if area.left % 3 == thread]
    assert await requests_in(target, Send, 0) == LETTERS
    assert await old.lists() == {}
    assert "nothing of sharded-queue" in await command(MODULE)

    Resize.handled.clear()
    await new_worker(target, Queue(target.storage)).loop(limit=300, handler=Resize)
    assert sorted(Resize.handled) == sorted(PICTURES)


async def test_what_waits_comes_at_its_time(old: Old, target: Backend, command: Command) -> None:
    await old.queue.register(OldSend, LETTERS[0], defer=timedelta(hours=1))
    await old.queue.register(OldSend, LETTERS[1], LETTERS[2], defer=7200)
    await old.queue.register(OldSend, LETTERS[3], recurrent=60)
    await old.queue.register(OldSend, LETTERS[4], recurrent=timedelta(days=1))
    await old.queue.register(OldCrop, AREAS[0], recurrent=RULE)
    await old.queue.register(OldCrop, AREAS[1], recurrent=OVER)
    # The next time of a recurrent request waits among the deferred ones.
    await old.queue.register(OldSend, LETTERS[3], defer=30)
    now = datetime.now(UTC)

    assert "there is no time zone 'Europe'" in await command(MODULE, "--timezone", "Europe", code=cli.FAILED)
    await command(MODULE, "--timezone", "Europe/Berlin")

    counts = await target.storage.backlog()
    assert (counts.queued, counts.deferred, counts.recurrent) == (0, 3, 3)
    found = {its.schedule: its async for its in each(target.storage.scheduled)}
    assert set(found) == {
        "every 60",
        "every 86400",
        "DTSTART;TZID=Europe/Berlin:20260101T083000 RRULE:FREQ=DAILY",
    }
    assert abs(found["every 60"].due_us / 1e6 - (now.timestamp() + 30)) < 5
    assert target.movable
    once = [its async for its in each(target.movable.waiting) if not its.schedule]
    assert [round((its.due_us / 1e6 - now.timestamp()) / 600) for its in once] == [6, 12, 12]


async def test_nothing_goes_before_it_is_stored(old: Old, target: Backend) -> None:
    """The command is cut off after each of its calls, and made again."""
    await old.fill()
    await old.queue.register(OldSend, LETTERS[3], recurrent=60)
    await old.queue.register(OldSend, LETTERS[0], defer=3600)
    before, cuts = await old.lists(), set[tuple[str, int]]()
    assert target.movable
    while ("forget", 1) not in cuts:
        server = AncestorServer(server_url(), old.prefix, old.lock_prefix)
        source: Any = Ancestor(server, Translator(HANDLERS, "UTC"), 10**15, ignores_locks=False)
        target.movable._stored = {}  # type: ignore[attr-defined]
        ends = mover.Ends(_Cutting(source, cuts), _Cutting(target.movable, cuts), "old", "new")  # type: ignore[arg-type]
        with pytest.raises(_Cut):
            await mover.move(ends, 0)
        if not cuts & {("hand_over", 1), ("forget", 1)}:
            assert await old.lists() == before
        await server.close()
    assert {name for name, _ in cuts} >= {"leave", "store", "settle", "is_as_it_was", "hand_over", "open", "forget"}
    counts = await target.storage.backlog()
    assert (counts.queued, counts.deferred, counts.recurrent) == (345, 1, 1)
    assert await requests_in(target, Send, 0) == LETTERS
    assert await requests_in(target, Resize, 3, 1) == [its for its in PICTURES if its.at == (3, 1)]
    assert await old.lists() == {}


async def test_what_came_meanwhile_stays(old: Old, target: Backend, command: Command) -> None:
    await old.fill()
    server = AncestorServer(server_url(), old.prefix, old.lock_prefix)
    await server.leave(5, target.url)
    await server.count()  # a command that was killed here
    await old.queue.register(OldSend, Letter(to="late"))
    await server.close()

    await command(MODULE)

    assert await requests_in(target, Send, 0) == LETTERS
    assert list(await old.lists()) == [f"{MODULE}/Send/0/0"]


async def test_it_waits_for_its_workers(old: Old, target: Backend, command: Command) -> None:
    await old.fill()
    await old.lock.acquire(f"{MODULE}/Send/0/0")

    assert "Send/0/0" in await command(MODULE, "--timeout", "0", code=cli.FAILED)
    assert (await target.storage.backlog()).queued == 0
    await command(MODULE, "--timeout", "0", "--ignore-locks")

    assert (await target.storage.backlog()).queued == 345


async def test_what_its_workers_do_last_goes_along(old: Old, target: Backend, command: Command) -> None:
    """As they do it: the batch leaves its list, which may be after it sent something on, and then the lock goes."""
    await old.fill()
    send, crop = f"{MODULE}/Send/0/0", f"{MODULE}/Crop/7/0"
    await old.lock.acquire(send)
    moving = asyncio.create_task(command(MODULE, "--timeout", f"{LIMIT_S}"))
    server = AncestorServer(server_url(), old.prefix, old.lock_prefix)
    async with asyncio.timeout(LIMIT_S):
        while (await server.stand()).standing is not Standing.LEAVING:  # noqa: ASYNC110 - no event tells the test
            await asyncio.sleep(0.01)
    await server.close()

    await old.storage.append(crop, "[1, 2, null]")
    await old.storage.pop(send, 2)
    await old.lock.release(send)

    assert "344 requests" in await finished(moving)
    assert await requests_in(target, Send, 0) == LETTERS[2:]
    assert await requests_in(target, Crop, 7) == [Area(1, 2)]
    assert await old.lists() == {}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda old: old.storage.append(f"{MODULE}/Missing/0/0", "[]"), "no handler"),
        (lambda old: old.storage.append(f"{MODULE}/Resize/0/9", '["x", 1]'), "priority 9"),
        (lambda old: old.storage.append(f"{MODULE}/Resize/0/0", '["x", "no number"]'), "is none of"),
        (lambda old: old.storage.append(f"{MODULE}/Resize/0/0", '["x", 1, [0, 0], [], "more"]'), "is none of"),
        (lambda old: old.storage.append(f"{MODULE}/Crop/0/0", '[1, 2, null, "more"]'), "4 values for 3 fields"),
        (lambda old: old.storage.append(f"{MODULE}/Send/0/0", '["x", [], "more"]'), "3 values for 2 fields"),
        (
            lambda old: old.storage.append(
                "sharded_queue/RecurrentHandler/0/0", json.dumps(["RRULE:WHAT", f"{MODULE}/Send/0/0", ["x", []]])
            ),
            "cannot be read",
        ),
        (lambda old: old.storage.append(f"{MODULE}/Crop/0/0", "no json"), "Crop/0/0 is no request"),
        (lambda old: old.storage.append(f"{MODULE}/Send/0/0", '"abc"'), "no list"),
        (lambda old: old.storage.append("sharded_queue/DeferredHandler/0/0", "[1]"), "no time, tube and values"),
        (
            lambda old: old.storage.append(
                "sharded_queue/DeferredHandler/0/0", json.dumps(["soon", f"{MODULE}/Send/0/0", ["x", []]])
            ),
            "no time, tube and values",
        ),
    ],
)
async def test_what_cannot_be_taken_over_stays(
    old: Old, target: Backend, command: Command, spoil: Callable[[Old], Awaitable[object]], said: str
) -> None:
    await old.fill()
    await spoil(old)
    before = await old.lists()

    assert said in await command(MODULE, code=cli.FAILED)

    assert await old.lists() == before
    assert (await target.storage.backlog()).queued == 0
    assert await target.storage.append([(f"{MODULE}/Send/0/0", [b"\x90"])]) == 1


@pytest.mark.parametrize(
    ("handler", "values", "said"),
    [
        (SignIn, ["Ann", "hunter2", "no pin"], "['Ann', '***', '***']"),
        (Charge, ["Ann", "hunter2", [], 5], "{'holder': 'Ann', 'digits': '***', 'codes': [], 'next': 5}"),
    ],
)
def test_what_is_no_request_is_said_without_its_secrets(handler: Any, values: list[Any], said: str) -> None:
    name = handler_name(handler)
    with pytest.raises(RequestError, match=re.escape(f"{name}/0/0, {said}, is none of")) as refused:
        Translator({name: handler}, "UTC").message(f"{handler.__module__}/{handler.__name__}/0/0", values)
    assert "hunter2" not in str(refused.value)


async def test_a_segment_that_was_made_in_vain_goes_again(old: Old, capfd: pytest.CaptureFixture[str]) -> None:
    given = ("take-over", server_url(), f"shm://{segment_name()}", MODULE, "--prefix", old.prefix)

    for filled, code, words in ((False, cli.OK, ()), (True, cli.FAILED, ()), (True, cli.FAILED, ("--cancel",))):
        if filled:
            await old.storage.append(f"{MODULE}/Missing/0/0", "[]")
        assert await asyncio.to_thread(cli.main, (*given, *words)) == code
        with pytest.raises(SegmentMissing):
            await connect(given[2])


async def test_it_can_be_cancelled(old: Old, target: Backend, command: Command) -> None:
    await old.fill()
    before = await old.lists()
    server = AncestorServer(server_url(), old.prefix, old.lock_prefix)
    await server.leave(5, target.url)
    assert target.movable
    await target.movable.arrive(5, "before")
    await server.close()

    await command(MODULE, "--cancel")

    assert await old.lists() == before
    assert (await target.movable.stand()).standing is Standing.ARRIVING  # by another move, as it seems
    await target.movable.clear(5)
    await command(MODULE)


class _Cut(BaseException):
    """Stands for the end of the process."""


class _Cutting:
    """One end of the move, on which the mover dies right after each call at which it did not die before: the first of
    its name, the second, ...
    """

    def __init__(self, its: Any, cuts: set[tuple[str, int]]) -> None:
        self._its, self._cuts = its, cuts
        self._calls = Counter[str]()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._its, name)
        if name == "storage":
            return found

        async def call(*arguments: Any) -> Any:
            result = await found(*arguments)
            self._calls[name] += 1
            point = name, self._calls[name]
            if point not in self._cuts:
                self._cuts.add(point)
                raise _Cut
            return result

        return call
