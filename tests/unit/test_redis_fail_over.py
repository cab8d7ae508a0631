"""What a storage does where a replica takes the place of its server and lacks what came last: point 15 of what storages
on a server must show.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.servers.layout import Layout
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.owners import Family
from shardq.errors import FencedError
from shardq.model import Hand, Terms, When, dead_pipe
from shardq.outputs import Output
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.ports import free_ports
from tests.support.redis_replica import Replica
from tests.support.redis_server import Server, packaged_valkey, removed_when_right, running_server
from tests.support.tasks import LIMIT_S, eventually, finished

HANDLER = "app.jobs/Resize"
SERVED, TERMS = frozenset((HANDLER,)), {HANDLER: Terms((0,), 1)}
PARTITIONS = 4
#: Two threads of each partition.
KEYS = [
    [key for n in range(99) if Layout("", PARTITIONS).partition_of(key := f"{HANDLER}/{n}") == place][:2]
    for place in range(PARTITIONS)
]
KEY = KEYS[0][0]
PIPE = f"{KEY}/0"


@pytest.fixture(params=[1, PARTITIONS])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[RedisStorage]:
    settings = StorageSettings(prefix=f"{segment_name()}_")
    storage = storage_of(f"{running_server().url}?partitions={request.param}", settings)
    yield storage
    await removed_when_right(storage)


@pytest.fixture
def replica(storage: RedisStorage) -> Iterator[Replica]:
    replica = Replica(storage)
    yield replica
    replica.close()


async def taken(storage: RedisStorage, key: str, token: int) -> Hand:
    return Hand(key, token, await storage.take(key, token, TERMS[HANDLER]))


async def contents(storage: RedisStorage) -> list[bytes]:
    return (await storage.range(PIPE, 9)).messages


async def test_15_a_number_is_not_given_twice(storage: RedisStorage, replica: Replica) -> None:
    await storage.append([(PIPE, [b"kept"])])
    await replica.lags()
    await storage.append([(PIPE, [b"lost"])])
    lost = (await storage.range(PIPE, 9)).numbers
    replica.takes_over()
    await storage.append([(PIPE, [b"new"])])
    found = await storage.range(PIPE, 9)
    assert found.messages == [b"kept", b"new"]
    assert found.numbers[0] == lost[0]
    assert found.numbers[1] > lost[1]


async def test_15_what_has_the_place_of_a_lost_message_does_not_leave_in_its_stead(
    storage: RedisStorage, replica: Replica
) -> None:
    await storage.append([(PIPE, [b"done"])])
    token = await storage.claim(KEY)
    assert await storage.pop(await taken(storage, KEY, token), 1)
    await replica.lags()
    await storage.append([(PIPE, [b"lost"])])
    hand = await taken(storage, KEY, token)
    replica.takes_over()
    await storage.append([(PIPE, [b"new"])])
    assert await storage.pop(hand, 1)  # its claim stands, and what it speaks of is not there
    assert await contents(storage) == [b"new"]
    assert await storage.unclaim(KEY, token)


@pytest.mark.parametrize("verb", ["pop", "turn", "fail"])
async def test_15_what_is_there_again_does_not_leave_with_what_came_after_it(
    storage: RedisStorage, replica: Replica, verb: str
) -> None:
    await storage.append([(PIPE, [b"buried", b"next"])])
    token, grave = await storage.claim(KEY), dead_pipe(HANDLER)
    if verb == "fail":
        await taken(storage, KEY, token)
    await replica.lags()
    hand = await taken(storage, KEY, token)
    assert await storage.bury(hand, hand.batch.sequence, grave, b"letter")
    hand = await taken(storage, KEY, token)
    assert hand.batch.messages == [b"next"]
    replica.takes_over()
    verbs: dict[str, Callable[[], Awaitable[object]]] = {
        "pop": lambda: storage.pop(hand, 1),
        "turn": lambda: storage.turn(hand, SERVED, TERMS),
        "fail": lambda: storage.fail(hand),
    }
    # It is not at the head of its tube.
    assert await storage.bury(hand, hand.batch.sequence, grave, b"letter")
    with pytest.raises(FencedError):
        await verbs[verb]()
    assert await contents(storage) == [b"buried", b"next"]
    assert await storage.unclaim(KEY, token)
    again = await storage.turn(None, SERVED, TERMS)
    assert again
    assert (again.batch.messages, again.batch.failed) == ([b"buried"], None)
    await storage.unclaim(KEY, again.token)


async def test_15_what_waits_and_dead_letters_have_numbers_of_their_own(
    storage: RedisStorage, replica: Replica
) -> None:
    async def number_of_letter() -> int:
        await storage.append([(PIPE, [b"x"])])
        token = await storage.claim(KEY)
        hand = await taken(storage, KEY, token)
        assert await storage.bury(hand, hand.batch.sequence, dead_pipe(HANDLER), b"letter")
        assert await storage.unclaim(KEY, token)
        return (await storage.range(dead_pipe(HANDLER), 9)).sequence

    async def numbers_of_entries() -> bytes:
        await storage.append([(PIPE, [b"x"])], when=When(after_us=10**12))
        place = (await storage.server.layout()).partition_of(KEY)
        due = (await storage.server.layout()).key(place, "DUE")
        return bytes(running_server().ask("ZRANGE", due.decode(), "0", "-1")[0])

    await replica.lags()
    lost = await number_of_letter(), await numbers_of_entries()
    replica.takes_over()
    assert await number_of_letter() > lost[0]
    assert await numbers_of_entries() > lost[1]


async def test_15_a_worker_has_no_thread_for_ever_that_it_released(storage: RedisStorage, replica: Replica) -> None:
    """The supervisor, which renews all claims of its worker, renews that one too."""
    family = Family("host", "mark")
    storage.turning.presence.join(family)
    owner, keys = storage.turning.owner, [key for pair in KEYS for key in pair]
    lone = (await storage.server.layout()).partitions == 1
    for key in keys:
        await storage.append([(f"{key}/0", [b"first", b"second"])])
    hand = await storage.turn(None, SERVED, TERMS)
    assert hand
    first = hand.key
    await replica.lags()
    while hand and hand.key == first:
        hand = await storage.turn(hand, SERVED, TERMS, stay=False)
    assert hand
    replica.takes_over()
    with pytest.raises(FencedError):
        await storage.turn(hand, SERVED, TERMS)
    assert not await storage.unclaim(hand.key, hand.token)

    done, hand = dict[str, list[bytes]](), None
    while sum(map(len, done.values())) < 2 * len(keys):
        await storage.of_owner(owner, lease_s=3600)
        hand = await storage.rest(hand, SERVED, TERMS, LIMIT_S)
        assert hand
        assert hand.batch.count, f"nothing more comes after {done}"
        done.setdefault(hand.key, []).extend(hand.batch.messages)
    assert done.keys() == set(keys)
    assert all(messages == [b"first", b"second"] for messages in done.values())
    assert await storage.pop(hand, 1)
    assert await storage.unclaim(hand.key, hand.token)
    assert lone or len({(await storage.server.layout()).partition_of(key) for key in done}) == PARTITIONS


async def test_15_a_lost_pause_is_ended_everywhere_by_a_resume(storage: RedisStorage, replica: Replica) -> None:
    """The partitions whose servers live have it still."""
    keys = {key for pair in KEYS for key in pair}
    await storage.append([(f"{key}/0", [b"x"]) for key in keys])
    await replica.lags((0,))
    await storage.pause(HANDLER)
    replica.takes_over()
    assert await storage.pauses() == []

    assert not await storage.resume(HANDLER)

    handed, hand = set[str](), None
    while handed != keys:
        hand = await storage.rest(hand, SERVED, TERMS, LIMIT_S)
        assert hand
        assert hand.key not in handed, f"nothing more comes after {handed}"
        handed.add(hand.key)
    assert hand
    assert await storage.pop(hand, 1)
    assert await storage.unclaim(hand.key, hand.token)


async def test_15_an_output_stays_in_its_outbox_until_the_other_partition_has_copies_of_it() -> None:
    server = Server(packaged_valkey(), port=free_ports(1)[0])
    server.start()
    replica = Server(packaged_valkey(), "--replicaof", f"127.0.0.1 {server.port}", "--repl-diskless-sync-delay", "0")
    storage = RedisStorage(Address(path=str(server.socket)), partitions=PARTITIONS, replicas=1)
    source, target = KEYS[0][0], KEYS[1][0]

    async def on_its_way() -> bool:
        _, *entries = await storage.server.run("outgoing", 0, {"after": None})
        return bool(entries)

    async def brought_on() -> bool:
        await storage.promote()
        return not await on_its_way()

    try:
        step = asyncio.create_task(storage.append([(f"{source}/0", [b"x"])]))
        await eventually(lambda: storage.length(f"{source}/0"), "it is there")
        hand = await storage.turn(None, SERVED, TERMS)
        assert hand
        assert await storage.pop(hand, 1, [Output(f"{target}/0", [b"sent on"])])
        await eventually(lambda: storage.length(f"{target}/0"), "it comes at once")
        layout = await storage.server.layout()
        await storage.server.ask(b"DEL", *layout.keys_of(1), slot=0)  # the server has them no more
        assert await on_its_way()
        assert not step.done()

        replica.start()
        await eventually(lambda: replica.figure("replication", "master_link_status") == "up", "the replica is there")
        assert await finished(step) == 1
        await eventually(brought_on, "it is in its tube")
        assert (await storage.range(f"{target}/0", 9)).messages == [b"sent on"]
        assert await storage.unclaim(hand.key, hand.token)
        assert await wrongs(storage.server) == []
    finally:
        await storage.close()
        server.end()
        replica.end()
