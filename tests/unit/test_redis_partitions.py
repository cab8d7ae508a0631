"""A storage of several partitions on one server: what goes over all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.connections.address import of_url
from shardq.drivers.redis.connections.tries import PATIENCE_S
from shardq.drivers.redis.lock import RedisLock
from shardq.drivers.redis.moving import MovableServer
from shardq.drivers.redis.servers.layout import Layout
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.outputs import sending
from shardq.drivers.redis.verbs.owners import Family
from shardq.drivers.redis.verbs.sleeping import Look, Places
from shardq.errors import (
    ConfigurationError,
    MessageTooLarge,
    RequestFailed,
    StorageMoved,
    StorageRefused,
    StorageUnavailable,
)
from shardq.handler import Handler
from shardq.model import Counts, Hand, Retry, Terms, When, handler_name
from shardq.outputs import Output
from shardq.queue import Queue
from shardq.settings import StorageSettings
from shardq.working.worker import Worker
from tests.support.jobs import Note, Record
from tests.support.leaks import segment_name
from tests.support.redis_server import removed_when_right, running_server
from tests.support.tasks import LIMIT_S, busy, eventually, finished, suspended
from tests.support.workers import working

HANDLER, PARTITIONS = "app.jobs/Resize", 8
TERMS = {HANDLER: Terms((0,), 10)}
#: One thread in each partition.
KEYS = [
    next(key for n in range(999) if Layout("", PARTITIONS).partition_of(key := f"{HANDLER}/{n}") == place)
    for place in range(PARTITIONS)
]
EVERYWHERE = [(f"{key}/0", [b"x"]) for key in KEYS]


@pytest.fixture
async def storage() -> AsyncIterator[RedisStorage]:
    storage = storage_of(
        f"{running_server().url}?partitions={PARTITIONS}", StorageSettings(prefix=f"{segment_name()}_")
    )
    busy.append(lambda: storage.server.busy)
    yield storage
    busy.clear()
    await removed_when_right(storage)


async def test_a_storage_keeps_its_partitions(storage: RedisStorage) -> None:
    await storage.append(EVERYWHERE)
    other = storage_of(f"{running_server().url}?partitions=3&prefix={storage.settings.prefix}")
    assert await other.backlog() == Counts(PARTITIONS, 0)
    assert other.server.partitions == PARTITIONS
    await other.close()


async def test_one_worker_serves_all_partitions_while_one_of_them_always_has_work(storage: RedisStorage) -> None:
    assert await storage.append(EVERYWHERE) == PARTITIONS
    hot, served, hand = f"{KEYS[0]}/0", set[str](), None
    deadline = time.monotonic() + LIMIT_S
    while served != set(KEYS):
        assert time.monotonic() < deadline, served
        await storage.append([(hot, [b"more"])])
        hand = await storage.turn(hand, frozenset(TERMS), TERMS, stay=False)
        assert hand
        served.add(hand.key)
    assert await storage.unclaim(hand.key, hand.token)


async def test_a_thread_that_is_left_for_another_partition_is_free(storage: RedisStorage) -> None:
    storage.turning.round_s = 0.0
    await storage.append([EVERYWHERE[0]])
    hand = await storage.turn(None, None, TERMS)
    assert hand
    await storage.append([EVERYWHERE[1]])
    moved = await storage.turn(hand, None, TERMS)
    assert moved
    assert (moved.key, moved.batch.messages) == (KEYS[1], [b"x"])
    assert not await storage.claimed(KEYS[0])
    bound = Hand(moved.key, moved.token, moved.batch)
    assert await storage.turn(bound, None, TERMS)

    resting = await suspended(storage.rest(bound._replace(batch=bound.batch), None, TERMS, LIMIT_S))
    await storage.append([EVERYWHERE[2]])
    moved = await finished(resting)
    assert moved
    assert moved.key == KEYS[2]
    assert not await storage.claimed(KEYS[1])


def test_09_looks_that_are_due_at_nearly_the_same_time_are_made_together() -> None:
    places = Places(range(3), clock=lambda: 1000.0)
    for place, looks_in_s in enumerate((10, 10.004, 20)):
        places.lie_with(SimpleNamespace(name=str))  # type: ignore[arg-type]
        places.lie_as(place)
        places.note(place, Look(sleeps=True, looks_in_us=looks_in_s * 1e6))
    assert places.next_s is not None
    assert 10.004 <= places.next_s < 20


def test_09_a_look_without_an_answer_is_made_again_after_the_safety_net() -> None:
    now_s = 1000.0
    places = Places(range(2), 1.0, clock=lambda: now_s)
    places.lie_with(SimpleNamespace(name=str))  # type: ignore[arg-type]
    for place in places.partitions:
        places.lie_as(place)
    places.note(1, Look(sleeps=True, looks_in_us=5_000_000))

    assert places.next_s == 1.0
    now_s += 1.0
    places.wake(set())
    assert places.todo == [0]


@pytest.mark.parametrize("by", [set[int](), {1}, None])
def test_09_a_partition_that_no_look_reaches_waits_for_the_safety_net_again(by: set[int] | None) -> None:
    now_s = 1000.0
    places = Places(range(2), 1.0, clock=lambda: now_s)
    places.lie_with(SimpleNamespace(name=str))  # type: ignore[arg-type]
    for place in places.partitions:
        places.lie_as(place)
        places.note(place, Look(sleeps=True, looks_in_us=5_000_000))
    now_s += 10.0

    places.wake(by)

    assert 0 in places.todo
    assert places.next_s == 1.0


class Away:
    """The servers of partitions to which some script cannot be sent; others go on."""

    def __init__(self, storage: RedisStorage, script: str, how: str) -> None:
        self._run, self._script, self._how = storage.server.run, script, how
        self.back = asyncio.Event()
        self.tries = 0
        storage.server.run = self.run  # type: ignore[method-assign]

    async def run(
        self, name: str, partition: int, *words: Any, patience_s: float | None = PATIENCE_S, **options: Any
    ) -> Any:
        if name == self._script and not self.back.is_set():
            self.tries += 1
            if self._how == "refuses":
                raise StorageRefused("no such rights")
            if patience_s == 0.0 and self._how == "lost":
                raise StorageUnavailable("no answer")
            await self.back.wait()
        return await self._run(name, partition, *words, patience_s=patience_s, **options)


@pytest.mark.parametrize("how", ["lost", "silent", "refuses"])
async def test_a_worker_gets_what_it_claimed_where_its_former_thread_cannot_be_released(
    storage: RedisStorage, how: str
) -> None:
    storage.turning.presence.join(Family("host", "mark"))
    storage.turning.round_s = 0.0
    await storage.append([EVERYWHERE[0]])
    hand = await storage.rest(None, frozenset(TERMS), TERMS, LIMIT_S, stay=False)
    await storage.append([EVERYWHERE[1]])
    away = Away(storage, "unclaim", how)

    async with asyncio.timeout(LIMIT_S):
        found = await storage.turn(hand, frozenset(TERMS), TERMS, stay=False)

    assert found
    assert (found.key, found.batch.messages) == (KEYS[1], [b"x"])
    assert away.tries
    assert await storage.claimed(KEYS[0])
    away.back.set()

    async def released() -> bool:
        await storage.rest(found, frozenset(TERMS), TERMS, 0, stay=False)
        return not await storage.claimed(KEYS[0])

    await eventually(released, "the former thread is released")
    assert await storage.unclaim(found.key, found.token)


async def test_09_a_worker_looks_again_at_a_partition_whose_server_did_not_answer_a_look(
    storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardq.drivers.redis.verbs.releasing.LOOK_S", 0.05)
    given_up = asyncio.Event()

    async def note_silence(_: int) -> None:
        given_up.set()

    monkeypatch.setattr(storage.server, "note_silence", note_silence)
    storage.turning.presence.join(Family("host", "mark"))
    resting = await suspended(storage.rest(None, frozenset(TERMS), TERMS, stay=False))
    away = Away(storage, "turn", "silent")
    await storage.append([EVERYWHERE[0]])
    await finished(asyncio.create_task(given_up.wait()))
    away.back.set()

    hand = await finished(resting)

    assert hand
    assert hand.key == KEYS[0]
    assert await storage.unclaim(hand.key, hand.token)


async def test_a_turn_that_was_given_up_turns_no_more(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its answer says at last that a recurrent request is due: its number would be later than that of the
    worker's next turn.
    """
    monkeypatch.setattr("shardq.drivers.redis.verbs.releasing.LOOK_S", 0.05)
    run, turns, back = storage.server.run, list[int](), asyncio.Event()

    async def slow(name: str, partition: int, *words: Any, **options: Any) -> Any:
        if name != "turn":
            return await run(name, partition, *words, **options)
        turns.append(partition)
        if len(turns) == 1:
            assert await storage.claim(KEYS[0])
            await storage.append([EVERYWHERE[0]], when=When(1, "every 3600"))
        reply = await run(name, partition, *words, **options)
        await back.wait()
        return reply

    await storage.append([EVERYWHERE[0]])
    monkeypatch.setattr(storage.server, "run", slow)
    before = asyncio.all_tasks()
    assert await storage.turn(None, frozenset(TERMS), TERMS, stay=False) is None
    [given_up] = asyncio.all_tasks() - before
    back.set()
    await finished(given_up)

    assert turns == [0]
    assert (await storage.backlog()).accepted == 2


@pytest.mark.parametrize(("script", "how"), [("incoming", "silent"), ("outgoing", "silent"), ("outgoing", "refuses")])
async def test_a_worker_gets_its_next_batch_where_outputs_cannot_be_brought_on(
    storage: RedisStorage, script: str, how: str
) -> None:
    for _ in range(2):
        await storage.append([EVERYWHERE[0]])
    one = {HANDLER: Terms((0,), 1)}
    hand = await storage.rest(None, frozenset(TERMS), one, LIMIT_S)
    away = Away(storage, script, how)

    async with asyncio.timeout(LIMIT_S):
        found = await storage.turn(hand, frozenset(TERMS), one, outputs=[Output(f"{KEYS[1]}/0", [b"sent"])])

    assert found
    assert (found.key, found.batch.messages) == (KEYS[0], [b"x"])
    assert away.tries
    away.back.set()
    await storage.promote()
    await eventually(lambda: storage.length(f"{KEYS[1]}/0"), "the output comes")
    assert await storage.unclaim(found.key, found.token)


async def test_where_one_partition_is_full_nothing_is_taken(storage: RedisStorage) -> None:
    storage.settings.capacity_bytes = PARTITIONS * 64 * 1024
    await storage.append([(f"{KEYS[0]}/0", [bytes(60_000)])])
    both = [(f"{KEYS[0]}/0", [bytes(3_000)]), (f"{KEYS[1]}/0", [b"beside"])]

    assert await storage.append(both) is None
    assert await storage.length(f"{KEYS[1]}/0") == 0
    waiting = await suspended(storage.append_when_room(both))
    assert await storage.remove(f"{KEYS[0]}/0", bytes(60_000)) == 1
    assert await finished(waiting) == 2
    with pytest.raises(MessageTooLarge, match="8 partitions"):
        await storage.append([(f"{KEYS[0]}/0", [bytes(70_000)]), (f"{KEYS[1]}/0", [b"beside"])])


class Deep(Handler[Note, int]):
    retry = Retry(max_attempts=1)

    def perform(self, *notes: Note) -> list[int]:
        error = ValueError("too deep")
        error.add_note("line\n" * 5000)
        raise error


async def test_a_failure_that_is_larger_than_a_partition_takes_reaches_its_caller() -> None:
    prefix = f"{segment_name()}_"
    settings = StorageSettings(prefix=prefix, capacity_bytes=256 * 1024)
    storage = storage_of(f"{running_server().url}?partitions=64", settings)
    queue = Queue(storage)
    await storage.wait(frozenset({handler_name(Deep)}), 0)
    async with working(Worker(RedisLock(storage), queue)):
        with pytest.raises(RequestFailed, match="too deep") as failed:
            await queue.call(Deep, Note("a", 1))
    assert failed.value.traceback.startswith("Traceback")
    await removed_when_right(storage)


async def test_a_full_partition_holds_up_no_other(storage: RedisStorage) -> None:
    storage.settings.capacity_bytes = PARTITIONS * 64 * 1024
    assert await storage.append([(f"{KEYS[0]}/0", [bytes(60_000)])])
    assert await storage.append([(f"{KEYS[0]}/0", [bytes(3_000)])]) is None

    assert await storage.append([(f"{KEYS[1]}/0", [bytes(60_000)])]) == 1


async def test_a_call_that_a_move_cuts_in_two_says_what_was_stored(storage: RedisStorage) -> None:
    """The mover told the first partition, and none of the others yet."""
    leaves = {"move": 7, "step": "leave", "to": "shm://elsewhere"}
    assert await storage.server.run("leave_for", 0, leaves) == 1

    with pytest.raises(StorageMoved) as moved:
        await storage.append(EVERYWHERE)

    assert moved.value.stored == tuple(f"{key}/0" for key in KEYS[1:])
    assert (await storage.backlog()).queued == PARTITIONS - 1
    with pytest.raises(StorageMoved) as moved:
        await storage.append_when_room([EVERYWHERE[0]])
    assert moved.value.stored == ()
    queue, notes = Queue(storage), [Note("", thread, thread) for thread in range(32)]
    with pytest.raises(StorageMoved) as moved:
        await queue.register(Record, *notes)
    name, layout = handler_name(Record), Layout("", PARTITIONS)
    first = {note.thread for note in notes if layout.partition_of(f"{name}/{note.thread}") == 0}
    assert first
    assert [note.thread for note in moved.value.not_accepted] == sorted(first)
    assert (await storage.backlog()).queued == PARTITIONS - 1 + 32 - len(first)


async def test_a_call_waits_for_the_partitions_into_which_content_still_comes(storage: RedisStorage) -> None:
    """The mover opened the storage and died before the last partition knew of it."""
    movable = MovableServer(storage)
    await movable.arrive(7, "shm://before")
    assert await storage.append(EVERYWHERE) is None
    waits = await suspended(storage.append_when_room([(pipe, [b"y"]) for pipe, _ in EVERYWHERE[:2]]))
    assert await storage.server.run("arrive", 0, {"move": 7, "step": "open"}) == 1
    gate = (await movable._told(0))["gate"]
    for place in range(1, PARTITIONS - 1):
        await storage.server.run("follow", place, {"gate": gate})
    assert await finished(waits) == 2

    stored = await suspended(storage.append(EVERYWHERE))
    assert await storage.length(f"{KEYS[-1]}/0") == 0
    await movable.open(7)

    assert await finished(stored) == PARTITIONS
    assert await storage.length(f"{KEYS[-1]}/0") == 1


async def test_what_is_on_its_way_between_partitions_moves(storage: RedisStorage) -> None:
    """A worker dies behind an acknowledgement whose output goes to another partition. No other worker looks, since the
    storage leaves.
    """
    token = await storage.claim(KEYS[0])
    await storage.append([EVERYWHERE[0]])
    hand = Hand(KEYS[0], token, await storage.take(KEYS[0], token, Terms((0,), 1)))
    its = await sending(storage.server, storage.settings, KEYS[0], [Output(f"{KEYS[1]}/0", [b"sent"])], 1)
    leaves = {"name": "0", "from": hand.batch.sequence, "through": hand.batch.through}
    told = {"key": KEYS[0], "token": token} | leaves | its.told
    assert await storage.server.run_on(KEYS[0], "pop with outputs", told, *its.bodies, once=True) == 1
    assert await storage.unclaim(KEYS[0], token)
    movable = MovableServer(storage)
    await movable.leave(7, "shm://elsewhere")
    assert await storage.length(f"{KEYS[1]}/0") == 0

    assert await movable.in_hand() == []

    assert await storage.length(f"{KEYS[1]}/0") == 1
    await movable.stay(7)


async def test_there_is_no_quiet_while_a_message_goes_from_one_partition_to_another(storage: RedisStorage) -> None:
    """It goes to a partition that was counted already, just before its own is."""
    await storage.append([EVERYWHERE[1]])
    moves = [True]

    class Watched(RedisStorage):
        async def _counts(self, arguments: Mapping[int, dict[str, Any]]) -> list[Counts]:
            found = list[Counts]()
            for place in range(PARTITIONS):
                found.append(Counts(*await self.server.run("backlog", place, arguments.get(place, {}))))
                if moves and moves.pop():
                    token = await storage.claim(KEYS[1])
                    batch = await storage.take(KEYS[1], token, Terms((0,), 1))
                    await storage.append([EVERYWHERE[0]])
                    await storage.pop(Hand(KEYS[1], token, batch), 1)
                    await storage.unclaim(KEYS[1], token)
            return found

    watched = Watched(storage.server.address, storage.settings)
    busy.append(lambda: watched.server.busy)
    assert not await watched.is_quiet()
    assert moves == []
    moves.append(True)
    await storage.remove(f"{KEYS[0]}/0", b"x")
    await storage.append([EVERYWHERE[1]])
    waiting = await suspended(watched.wait_for_quiet())
    await storage.remove(f"{KEYS[0]}/0", b"x")
    assert await finished(waiting)
    await watched.close()


@pytest.mark.parametrize("text", ["0", "-1", "x", "1025"])
def test_a_number_of_partitions_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="from 1 to 1024"):
        storage_of(f"redis://localhost?partitions={text}")


async def test_a_prefix_with_braces_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="braces"):
        await storage_of(f"{running_server().url}?prefix=a{{b}}").backlog()


def test_a_cluster_is_named_by_some_of_its_servers() -> None:
    target = of_url("rediss+cluster://ann:secret@one:1,two:2?prefix=p&partitions=7")
    assert [(seed.host, seed.port, seed.password) for seed in target.seeds] == [
        ("one", 1, "secret"),
        ("two", 2, "secret"),
    ]
    assert target.address.tls is not None
    assert target.options == {"prefix": "p", "partitions": "7"}
    assert "secret" not in repr(storage_of("redis+cluster://:secret@one:1,two:2").server.address)
    with pytest.raises(ConfigurationError, match="no databases"):
        of_url("redis+cluster://one:1/3")
