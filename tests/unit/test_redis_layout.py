"""What is true of the scripts and of the keys on the server."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shardq.drivers import redis as driver
from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connections.address import Address, of_url
from shardq.drivers.redis.connections.scripts import script
from shardq.drivers.redis.facts import facts_of
from shardq.drivers.redis.moving import MovableServer
from shardq.drivers.redis.overview import overview_of
from shardq.drivers.redis.servers.layout import NAMES
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.tallies import handlers_of
from shardq.drivers.redis.tubes import tubes_of
from shardq.drivers.redis.verbs.hands import decoded
from shardq.drivers.redis.verbs.records import batch_of, bodies_of
from shardq.errors import StorageRefused
from shardq.model import KEPT_NAME_BYTES, Action, Ending, Hand, Terms, When
from shardq.moving.mover import Ends, move
from shardq.outputs import Output
from shardq.settings import StorageSettings
from tests.support import hands
from tests.support.chance import EVERYTHING
from tests.support.leaks import segment_name
from tests.support.redis_server import minimal_rights, removed_when_right, running_server
from tests.support.tasks import LIMIT_S

FOLDER = Path(driver.__file__).parent / "lua"
VERBS = [*sorted(path.stem for path in FOLDER.glob("*.lua")), "pop with outputs", "turn with outputs"]
PIPE, GRAVE = "app.jobs/Resize/7/0", "app.jobs/Resize/dead/0"
#: Threads that are drained: a sample, or the number of the point.
DRAINED = 100_000 if EVERYTHING else 2000
#: Commands that look at all there is, or let something end by itself.
FORBIDDEN = {
    *("KEYS", "SCAN", "HSCAN", "SSCAN", "ZSCAN", "LPOS", "ZUNIONSTORE"),
    *("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"),
}


@pytest.fixture
async def storage() -> AsyncIterator[RedisStorage]:
    address = Address(path=str(running_server().socket))
    storage = RedisStorage(address, StorageSettings(prefix=f"{segment_name()}_"))
    yield storage
    await removed_when_right(storage)


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_says_its_keys_and_uses_no_command_that_looks_at_all_of_them(verb: str) -> None:
    text = script(verb).text.decode()
    assert set(script(verb).keys) <= NAMES.keys()
    commands = set(re.findall(r"redis\.call\('([A-Z]+)'", text))
    assert not commands & FORBIDDEN


async def some_of_everything(storage: RedisStorage) -> None:
    """Leaves something in each of the keys that lasts."""
    await storage.append([(PIPE, [b"a", b"b"]), ("app.jobs/Crop/1/0", [b"c"])], absent=True)
    await storage.record(Action("pause", "app.jobs/Resize"))
    await storage.append([(PIPE, [b"later"])], when=When(after_us=10**12))
    await storage.append([(PIPE, [b"again"])], when=When(schedule="every 3600"))
    await hands.put_in_front(storage, PIPE, b"front")
    token = await storage.claim("app.jobs/Resize/7")
    hand = Hand("app.jobs/Resize/7", token, await storage.take("app.jobs/Resize/7", token, Terms((0,), 1)))
    await storage.fail(hand)
    await storage.take("app.jobs/Resize/7", token, Terms((0,), 1))
    assert await storage.bury(hand, hand.batch.sequence, GRAVE, b"letter")


async def a_move(beside: RedisStorage) -> None:
    """From one storage to another, whose prefixes begin as that of this one."""
    prefix, address = beside.server.prefix, beside.server.address
    source, target = (RedisStorage(address, StorageSettings(prefix=f"{prefix}{name}_")) for name in ("from", "to"))
    await some_of_everything(source)
    await source.of_owner(source.turning.owner, ending=Ending())  # or the move would wait for what it has in hand
    await move(Ends(MovableServer(source), MovableServer(target), "redis://from", "redis://to"), LIMIT_S)
    for each in (source, target):
        await removed_when_right(each)


async def all_verbs(storage: RedisStorage) -> None:
    """Runs each script at least once."""
    await some_of_everything(storage)
    key, terms, other = "app.jobs/Resize/7", Terms((0,), 1), "app.jobs/Crop/1/0"
    await storage.append([(PIPE, [b"due"])], when=When(schedule="every 0.001"))
    await storage.wait(None, 0)
    await storage.promote()
    assert await storage.contains(other, b"c")
    assert await storage.length(other) == 1
    await storage.pipes()
    await storage.range(PIPE, 9)
    await storage.backlog()
    await storage.pause("app.jobs/Other")
    await storage.resume("app.jobs/Other")
    assert len(await storage.actions()) == 1
    await overview_of(storage)
    await facts_of(storage, PIPE)
    await tubes_of(storage, None, 9)
    await handlers_of(storage.server)
    [often, *_] = await storage.scheduled()
    await storage.deferrals.skip(often)
    await storage.append([(PIPE, [b"late", b"later", b"latest"])], when=When(after_us=10**12))
    waiting = await storage.deferrals.page(limit=1)
    assert await storage.deferrals.find(waiting[0].id)
    [behind] = await storage.deferrals.page(waiting[0].id, 1)
    assert await storage.deferrals.cancel(waiting[0].id) == 1
    assert await storage.deferrals.run(behind.id)
    await storage.kept(bytes(KEPT_NAME_BYTES))
    await storage.graves()
    [letter] = (await storage.range(GRAVE, 9)).numbers
    assert await storage.requeue(GRAVE, letter, PIPE, b"again")
    assert not await storage.drop(GRAVE, letter)
    await storage.unschedule(PIPE, b"due")
    await storage.remove(PIPE, b"b")
    assert await storage.claimed(key)
    hand = await storage.turn(None, None, {"app.jobs/Crop": terms})
    assert hand
    assert await storage.lease((hand.key, hand.token, 9.0)) == [True]
    assert await storage.pop(hand, 1, [Output(PIPE, [b"sent"]), Output(PIPE, [b"later"], When(after_us=10**12), True)])
    assert await storage.unclaim(hand.key, hand.token)
    await storage.of_owner(storage.turning.owner, ending=Ending())
    hand = await storage.turn(None, None, {"app.jobs/Resize": terms})
    assert hand
    many = Output(f"{hand.key}/0", [b"%d" % number for number in range(600)], absent=True)
    hand = await storage.turn(hand, None, {"app.jobs/Resize": terms}, outputs=[Output(PIPE, [b"sent"]), many])
    assert hand
    await storage.pop(hand, 1)
    await a_move(storage)
    name = f"{storage.server.prefix}bell:none#1"
    await storage.server.run("await", 0, {"sleeper": name})
    assert await storage.server.run("outgoing", 0, {}) == [[]]
    assert await storage.server.run("incoming", 0, {"source": 0, "numbers": [], "most": 1 << 40}) == [0, 0, 0]
    assert await storage.server.run("cursor", 0, {"source": 0}) == 0
    await storage.server.run("arrived", 0, {"target": 0, "through": 0})
    assert await storage.server.run("room", 0, {"nbytes": 1, "most": 1 << 40})
    await storage.server.run("leave", 0, {"sleeper": name})
    await storage.server.run("full", 0, {"handler": "app.jobs/Resize", "how": "raised"})
    gate = decoded(await storage.server.run("stand", 0, {}))["gate"]
    await storage.server.run("follow", 0, {"gate": gate | {"number": gate["number"] + 1}})


async def test_03_every_key_that_a_script_touches_is_declared_and_of_the_storage(storage: RedisStorage) -> None:
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(running_server().socket))
        monitor.sendall(b"MONITOR\r\n")
        assert monitor.recv(5) == b"+OK\r\n"
        await storage.server.ask(b"SCRIPT", b"FLUSH")
        await all_verbs(storage)
        await storage.server.ask(b"PING", b"end of the test")
        said = b""
        while b"end of the test" not in said:
            said += monitor.recv(1 << 16)

    prefix, declared, touched, shas = storage.server.prefix, set[str](), 0, set[str]()
    for line in said.decode(errors="replace").splitlines():
        words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
        command = words[0].upper() if words else ""
        assert command not in FORBIDDEN
        if command in ("EVAL", "EVALSHA"):
            declared = set(words[3 : 3 + int(words[2])])
            shas.add(words[1])
        elif "lua]" in line and command == "PUBLISH":
            assert words[1].startswith(prefix)
        elif "lua]" in line and command != "TIME":
            assert words[1] in declared, line
            assert words[1].startswith(prefix), line
            touched += 1
    assert touched > 200
    assert [verb for verb in VERBS if script(verb).sha.decode() not in shas] == []


def test_19_the_rule_of_the_docs_allows_what_scripts_call() -> None:
    used = {command for verb in VERBS for command in re.findall(r"redis\.call\('([A-Z]+)'", script(verb).text.decode())}
    assert used <= {word.removeprefix("+").upper() for word in minimal_rights()}


async def test_19_two_prefixes_on_one_server_never_touch(storage: RedisStorage) -> None:
    other = RedisStorage(storage.server.address, StorageSettings(prefix=f"{segment_name()}_"))
    await some_of_everything(other)
    before = await other.backlog()
    await all_verbs(storage)
    await storage.server.destroy()

    assert await other.backlog() == before
    await removed_when_right(other)


async def test_19_a_user_of_one_prefix_may_touch_no_other(storage: RedisStorage) -> None:
    """All tests of the contract run as such a user."""
    server, prefix = running_server(), storage.server.prefix
    server.ask(
        "ACL", "SETUSER", "only", "on", "nopass", "resetchannels", f"~{prefix}*", f"&{prefix}*", *minimal_rights()
    )
    address = Address(path=str(server.socket), username="only")  # who needs no password
    its, other = (RedisStorage(address, StorageSettings(prefix=name)) for name in (prefix, f"x{prefix}"))
    await all_verbs(its)
    assert await wrongs(its.server) == []
    with pytest.raises(StorageRefused, match="check user, password and rights"):
        await other.append([(PIPE, [b"x"])])
    for each in (its, other):
        await each.close()
    server.ask("ACL", "DELUSER", "only")


async def test_nothing_on_the_server_expires(storage: RedisStorage) -> None:
    await some_of_everything(storage)
    for key in (await storage.server.layout()).keys_of(0):
        assert await storage.server.ask(b"TTL", key) in (-1, -2)


@pytest.mark.timeout(900)
async def test_08_drained_threads_leave_nothing(storage: RedisStorage) -> None:
    for start in range(0, DRAINED, 125):
        await storage.append([(f"app.jobs/Resize/{thread}/0", [b"x"]) for thread in range(start, start + 125)])
    terms, hand = {"app.jobs/Resize": Terms((0,), 9)}, None
    while hand is None or hand.batch.count:
        hand = await storage.turn(hand, None, terms)
    assert await storage.unclaim(hand.key, hand.token)

    layout = await storage.server.layout()
    left = [name for name in NAMES if await storage.server.ask(b"EXISTS", layout.key(0, name))]
    assert left == ["STATE", "CALLS", "FAMILIES", "GONE", "TALLIES", "CAME"]


#: What an operator does to the keys by hand.
DAMAGES = [
    ("HDEL", "CHUNKS", "1:0:1"),
    ("ZREM", "LIVE", "app.jobs/Crop/1"),
    ("ZADD", "LIVE", "0", "app.jobs/Crop/2"),
    ("DEL", "READY"),
    ("DEL", "TIMERS"),
    ("DEL", "OWNERS"),
    ("DEL", "EQUAL"),
    ("DEL", "DUE"),
    ("DEL", "AGAIN"),
    ("DEL", "WAITS"),
    ("DEL", "WAITING"),
    ("DEL", "GRAVES"),
    ("DEL", "LETTERS"),
    ("DEL", "STATE"),
    ("ZADD", "SLEEPERS", "0", "work\0*\0nobody"),
    ("HSET", "FAMILIES", "mark", ""),
    ("HDEL", "ACTIONS", "1"),
    ("HSET", "ACTIONS", "1", "1 2 none"),
    ("HSET", "ACTIONS", "7", "none"),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=" ".join)
async def test_the_check_finds_what_was_done_by_hand(storage: RedisStorage, damage: tuple[str, ...]) -> None:
    await some_of_everything(storage)
    assert await wrongs(storage.server) == []

    command, name, *words = damage
    layout = await storage.server.layout()
    await storage.server.ask(command.encode(), layout.key(0, name), *(word.encode() for word in words))

    assert await wrongs(storage.server)
    await storage.server.destroy()


@pytest.mark.parametrize("sizes", [[], [0], [5, 0, 7], [100] * 1000, [70_000, 3], [65_535], [65_536], [40_000] * 5])
def test_messages_come_back_from_their_records(sizes: list[int]) -> None:
    messages = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    records, first = [], 7
    for body in bodies_of(messages):
        records.append(first.to_bytes(8, "little") + body)
        first += batch_of([records[-1]]).count
    batch = batch_of([record for record in records if sizes])

    assert batch.messages == messages
    assert not sizes or (batch.sequence, batch.through) == (7, 7 + len(sizes))


@pytest.mark.parametrize("url", ["redis://ann:secret@host:1/2", "rediss://:secret@host/0?protocol=3"])
def test_no_text_about_an_address_has_the_password(url: str) -> None:
    address = of_url(url).address
    assert address.password == "secret"
    assert "secret" not in f"{address} {address!r} {[address]}"
