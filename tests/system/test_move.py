"""`python -m shardq move`, and what programs of the old storage hear of it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count

import pytest

from shardq import Handler, Queue, Supervisor, Worker, cli, connect
from shardq.drivers import SharedStorage
from shardq.drivers.shared.moving import MovableSegment
from shardq.errors import SegmentMissing, StorageMoved
from shardq.model import Chunk, When
from shardq.supervisor.exits import Exit
from tests.support.drivers import MIB, Backend, Driver, driver_named
from tests.support.jobs import Folder, Gated, Note, Record
from tests.support.leaks import segment_name
from tests.support.moving import MOVING, PAIRS
from tests.support.programs import Supervise
from tests.support.tasks import LIMIT_S, finished, suspended
from tests.support.workers import new_worker
from tests.system.test_watch import Watching

#: One of each technology to one of each, and a server with several partitions to a cluster with more of them.
SOME_PAIRS = [pair for pair in PAIRS if "cluster" not in pair[0].name and "partitions" not in pair[1].name]

Command = Callable[..., str]
Pair = tuple[Backend, Backend]


@pytest.fixture(params=SOME_PAIRS, ids=lambda pair: f"{pair[0].name} to {pair[1].name}")
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    made = [driver.make(None) for driver in request.param]
    yield made[0], made[1]
    for backend in made:
        await backend.discard()


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    async def run(*words: str, code: int = cli.OK) -> str:
        assert await asyncio.to_thread(cli.main, words) == code
        said = capfd.readouterr()
        return said.out + said.err

    return run


@pytest.fixture
def programs() -> Iterator[list[Supervise]]:
    started = list[Supervise]()
    yield started
    for program in started:
        program.discard()


async def test_what_was_registered_is_handled_elsewhere(pair: Pair, command: Command, folder: Folder) -> None:
    source, target = pair
    await Queue(source.storage).register(Record, *folder.notes(range(20), threads=3))
    await Queue(source.storage).register(Record, *folder.notes([99]), recurrent=3600)

    said = json.loads(await command("move", source.url, target.url, "--json"))

    assert said == {"moved": 21, "to": target.url}
    await new_worker(target, Queue(target.storage)).loop(limit=20)
    for thread in range(3):
        assert folder.done(thread) == list(range(thread, 20, 3))
    assert "moved to" in await command("move", source.url, target.url)


async def test_pauses_go_along(pair: Pair, command: Command, folder: Folder) -> None:
    source, target = pair
    await Queue(source.storage).register(Record, *folder.notes([1]))
    await source.storage.pause("app.jobs/Other", When(4_102_444_800_000_000))
    await source.storage.pause("app.jobs/Resize", reason="why")

    await command("move", source.url, target.url)

    found = [(its.handler, its.until_us, its.reason) for its in await target.storage.pauses()]
    assert found == [("app.jobs/Other", 4_102_444_800_000_000, ""), ("app.jobs/Resize", None, "why")]
    assert await source.storage.pauses() == []


async def test_programs_of_the_old_storage_hear_where_to_go(pair: Pair, command: Command, folder: Folder) -> None:
    source, target = pair
    worker: Worker = new_worker(source, Queue(source.storage))
    waiting = await suspended(worker.loop(handler=Record))
    await command("move", source.url, target.url)

    for told in (
        lambda: finished(waiting),
        lambda: Queue(source.storage).register(Record, *folder.notes([1])),
        lambda: connect(source.url),
    ):
        with pytest.raises(StorageMoved) as moved:
            await told()  # type: ignore[no-untyped-call]
        assert moved.value.to == target.url
    assert f"\nmoved:    to {target.url}, " in await command("status", "--url", source.url, "--sample", "0")
    assert "\nmov" not in await command("status", "--url", target.url, "--sample", "0")
    for url, stands in ((source.url, ("left", target.url)), (target.url, ("open", ""))):
        status = json.loads(await command("status", "--url", url, "--sample", "0", "--json"))
        assert (status["standing"], status["goes_to"]) == stands
    watching = Watching(source.url, 9)
    await asyncio.to_thread(watching.until, f"^moved:    to {re.escape(target.url)}, ")
    assert await asyncio.to_thread(watching.interrupt) == cli.OK

    async with await connect(moved.value.to) as queue:
        assert await queue.register(Record, *folder.notes([1])) == 1


async def test_who_asks_for_a_result_hears_where_it_is(pair: Pair, command: Command) -> None:
    source, target = pair
    queue = Queue(source.storage)
    ticket = await queue.submit(Double, 21)
    await new_worker(source, queue).loop(limit=1, handler=Double)
    await command("move", source.url, target.url)

    for ask in (queue.result, queue.forget):
        with pytest.raises(StorageMoved) as moved:
            await ask(ticket)
        assert moved.value.to == target.url

    assert await Queue(target.storage).result(ticket, Double) == 42
    assert await Queue(target.storage).forget(ticket)


async def test_a_supervisor_ends_with_a_code_of_its_own(
    pair: Pair, command: Command, folder: Folder, programs: list[Supervise]
) -> None:
    """The batch in hand is finished first."""
    source, target = pair
    programs.append(Supervise(f"{Gated.__module__}:Gated", "--url", source.url, "--workers", 2))
    supervisor = programs[-1]
    supervisor.hear("serving")
    await Queue(source.storage).register(Gated, *folder.notes(range(5), threads=1))
    folder.until("begin", 0)
    moving = asyncio.create_task(command("move", source.url, target.url))
    await asyncio.to_thread(supervisor.hear, "storage moved")
    folder.permit(5)
    await finished(moving)

    assert supervisor.end() == Exit.MOVED
    done = folder.done()
    assert done == list(range(len(done)))
    assert target.url.partition("?")[0] in supervisor.heard
    assert (await target.storage.backlog()).queued == 5 - len(done)

    programs.append(Supervise(f"{Gated.__module__}:Gated", "--url", source.url))
    assert programs[-1].end() == Exit.MOVED
    assert target.url.partition("?")[0] in programs[-1].heard
    programs.append(Supervise(f"{Gated.__module__}:Gated", "--url", target.url, "--drain"))
    folder.permit(5)
    assert programs[-1].end() == 0
    assert folder.done() == list(range(5))


async def test_an_application_is_told_by_its_supervisor(pair: Pair, command: Command) -> None:
    source, target = pair
    await command("move", source.url, target.url)

    with pytest.raises(StorageMoved) as moved:
        async with Supervisor(Record, workers=1, url=source.url):
            raise AssertionError

    assert moved.value.to == target.url


async def test_what_a_handler_registers_meanwhile_costs_no_attempt(
    pair: Pair, command: Command, folder: Folder
) -> None:
    source, target = pair
    queue = Queue(source.storage)
    await queue.register(Sends, *folder.notes([0]))
    worker = new_worker(source, queue)
    Sends.begun, Sends.go_on = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(worker.loop(handler=Sends))
    async with asyncio.timeout(LIMIT_S):
        await Sends.begun.wait()
    moving = asyncio.create_task(command("move", source.url, target.url))
    async with asyncio.timeout(LIMIT_S):
        while not await _told(source):  # noqa: ASYNC110 - no event tells the test
            await asyncio.sleep(0.01)
    Sends.go_on.set()
    with pytest.raises(StorageMoved):
        await finished(serving)
    await finished(moving)

    assert target.movable
    [tube] = await target.movable.tubes()
    assert (tube.length, tube.state.failed) == (1, None)
    Sends.go_on = asyncio.Event()
    Sends.go_on.set()
    await new_worker(target, Queue(target.storage)).loop(limit=2, handler=(Sends, Record))
    assert folder.done() == [0]


class Double(Handler[int, int]):
    def perform(self, *numbers: int) -> list[int]:
        return [2 * number for number in numbers]


class Sends(Record):
    """Registers for `Record`, once it may."""

    begun: asyncio.Event
    go_on: asyncio.Event

    async def perform(self, *notes: Note) -> None:
        self.begun.set()
        await self.go_on.wait()
        await self.queue.register(Record, *notes)


async def _told(backend: Backend) -> bool:
    """Whether a move was begun. If so, each part of the storage knows of it from then on."""
    try:
        await backend.storage.check_stays()
    except StorageMoved:
        assert backend.movable
        await backend.movable.stand()
        return True
    return False


@pytest.mark.parametrize("driver", MOVING, ids=lambda driver: driver.name)
async def test_a_segment_is_made_where_there_is_none(driver: Driver, command: Command, folder: Folder) -> None:
    source, name = driver.make(None), segment_name()
    await Queue(source.storage).register(Record, *folder.notes(range(3)))
    try:
        await command("move", source.url, f"shm://{name}", "--capacity", "4M")
        async with await connect(f"shm://{name}") as queue:
            assert (await queue.storage.backlog()).queued == 3
            assert queue.storage.capacity_bytes == 4 << 20  # type: ignore[attr-defined]
        await command("destroy", "--url", f"shm://{name}", "--with-requests")
    finally:
        await source.discard()
    with pytest.raises(SegmentMissing):
        await connect(f"shm://{name}")


async def test_a_segment_that_was_made_in_vain_goes_again(command: Command) -> None:
    """With more capacity the same command moves all."""
    source, name = driver_named("shared").make(None), segment_name()
    assert source.movable
    for _ in range(5):
        assert await source.storage.append([("app.jobs/Resize/0/0", [bytes(900_000)])])
    moving = "move", source.url, f"shm://{name}"

    assert "more capacity" in await command(*moving, "--capacity", "4M", code=cli.FAILED)
    assert "nothing to cancel" in await command(*moving, "--cancel", code=cli.FAILED)
    with pytest.raises(SegmentMissing):
        await connect(f"shm://{name}")

    assert "5 messages" in await command(*moving, "--capacity", "32M")
    await command("destroy", "--url", f"shm://{name}", "--with-requests")
    await source.discard()


async def test_a_move_is_cancelled_where_its_target_is_gone(command: Command, folder: Folder) -> None:
    source, name = driver_named("shared").make(None), segment_name()
    assert source.movable
    await Queue(source.storage).register(Record, *folder.notes(range(3)))
    await source.movable.leave(7, f"shm://{name}")

    await command("move", source.url, f"shm://{name}", "--cancel")

    with pytest.raises(SegmentMissing):
        await connect(f"shm://{name}")
    assert await Queue(source.storage).register(Record, *folder.notes([3])) == 1
    await source.discard()


async def test_what_was_left_stays_as_a_signpost_until_it_is_destroyed(command: Command, folder: Folder) -> None:
    names = segment_name(), segment_name()
    old, new = (f"shm://{name}" for name in names)
    shared = next(driver for driver in MOVING if driver.name == "shared")
    source = shared.make(None)
    await Queue(source.storage).register(Record, *folder.notes(range(3)))
    await command("move", source.url, old, "--capacity", "4M")
    await command("move", old, new, "--capacity", "4M")
    program = Supervise(f"{Record.__module__}:Record", "--url", old)
    try:
        assert program.end() == Exit.MOVED
    finally:
        program.discard()
    with pytest.raises(StorageMoved):
        await connect(old)

    await command("destroy", "--url", old)
    await command("destroy", "--url", new, "--with-requests")
    await source.discard()


def test_ctrl_c_leaves_a_move_that_goes_on_or_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Folder
) -> None:
    source, target = (f"shm://{segment_name()}" for _ in range(2))
    storage = SharedStorage.create(source.removeprefix("shm://"), 8 * MIB)
    Queue(storage).register_sync(Record, *folder.notes(range(9), threads=3))
    storage.detach()
    store, calls = MovableSegment.store, count(1)

    async def stored(segment: MovableSegment, move: int, chunk: Chunk) -> bool:
        if next(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return await store(segment, move, chunk)

    monkeypatch.setattr(MovableSegment, "store", stored)
    for again, words in (["--cancel"], "moves no more"), ([], "9 messages moved"):
        calls = count(1)
        assert cli.main(["move", source, target]) == cli.INTERRUPTED
        assert f"{source} waits for the rest of its move: give the same command again" in capsys.readouterr().err
        assert cli.main(["move", source, target, *again]) == cli.OK
        assert words in capsys.readouterr().out
    for url in (source, target):
        assert cli.main(["destroy", "--url", url, "--with-requests"]) == cli.OK


async def test_no_password_is_shown(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_URL", "redis://me:secret@127.0.0.1:1/0")
    said = await command("move", "env:OLD_URL", "shm://nowhere", code=cli.FAILED)
    assert "secret" not in said
    assert "127.0.0.1:1" in said
    said = await command("move", "env:NO_URL", "shm://nowhere", code=cli.FAILED)
    assert "NO_URL" in said


async def test_a_storage_cannot_move_to_itself(pair: Pair, command: Command) -> None:
    source, _ = pair
    assert "itself" in await command("move", source.url, source.url, code=cli.FAILED)


async def test_a_move_that_waits_for_workers_can_be_cancelled(pair: Pair, command: Command, folder: Folder) -> None:
    source, target = pair
    assert source.movable
    await Queue(source.storage).register(Record, *folder.notes(range(3)))
    await source.movable.leave(7, target.url)  # a mover that was killed here

    await command("move", source.url, target.url, "--cancel")

    await new_worker(source, Queue(source.storage)).loop(limit=3)
    assert folder.done() == [0, 1, 2]
