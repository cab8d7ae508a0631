"""What is true of the scripts and of the keys on the server."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shardq.drivers import redis as driver
from shardq.drivers.redis.address import Address, of_url
from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.layout import NAMES
from shardq.drivers.redis.records import batch_of, bodies_of
from shardq.drivers.redis.scripts import script
from shardq.drivers.redis.storage import RedisStorage
from shardq.model import Hand, Terms, When
from shardq.settings import StorageSettings
from tests.support import hands
from tests.support.leaks import segment_name
from tests.support.redis_server import running_server

FOLDER = Path(driver.__file__).parent / "lua"
VERBS = [*sorted(path.stem for path in FOLDER.glob("*.lua")), "pop with outputs", "turn with outputs"]
PIPE, GRAVE = "app.jobs/Resize/7/0", "app.jobs/Resize/dead/0"


@pytest.fixture
async def storage() -> AsyncIterator[RedisStorage]:
    address = Address(path=str(running_server().socket))
    storage = RedisStorage(address, StorageSettings(prefix=f"{segment_name()}_"))
    yield storage
    await storage.server.ask(b"UNLINK", *(await storage.server.layout()).all_keys())
    await storage.close()


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_says_its_keys_and_uses_no_command_that_looks_at_all_of_them(verb: str) -> None:
    text = script(verb).text.decode()
    assert set(script(verb).keys) <= NAMES.keys()
    commands = set(re.findall(r"redis\.call\('([A-Z]+)'", text))
    assert not commands & {"KEYS", "SCAN", "HSCAN", "SSCAN", "ZSCAN", "LPOS", "EXPIRE", "PEXPIRE", "EVAL"}


async def some_of_everything(storage: RedisStorage) -> None:
    """Leaves something in each of the keys that lasts."""
    await storage.append([(PIPE, [b"a", b"b"]), ("app.jobs/Crop/1/0", [b"c"])], absent=True)
    await storage.append([(PIPE, [b"later"])], when=When(after_us=10**12))
    await storage.append([(PIPE, [b"again"])], when=When(schedule="every 3600"))
    await hands.put_in_front(storage, PIPE, b"front")
    token = await storage.claim("app.jobs/Resize/7")
    hand = Hand("app.jobs/Resize/7", token, await storage.take("app.jobs/Resize/7", token, Terms((0,), 1)))
    await storage.fail(hand)
    await storage.take("app.jobs/Resize/7", token, Terms((0,), 1))
    assert await storage.bury(hand, hand.batch.sequence, GRAVE, b"letter")


async def test_every_key_that_a_script_touches_is_declared(storage: RedisStorage) -> None:
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(running_server().socket))
        monitor.sendall(b"MONITOR\r\n")
        assert monitor.recv(5) == b"+OK\r\n"
        await some_of_everything(storage)
        await storage.wait(None, 0)
        await storage.promote()
        await storage.remove(PIPE, b"b")
        await storage.server.ask(b"PING", b"end of the test")
        said = b""
        while b"end of the test" not in said:
            said += monitor.recv(1 << 16)

    declared, touched = set[str](), 0
    for line in said.decode(errors="replace").splitlines():
        words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
        if words and words[0] in ("EVAL", "EVALSHA"):
            declared = set(words[3 : 3 + int(words[2])])
        elif "lua]" in line and words[0] not in ("TIME", "PUBLISH"):
            keys = words[1:2] if words[0] != "ZUNIONSTORE" else [words[1], *words[3 : 3 + int(words[2])]]
            assert set(keys) <= declared, line
            touched += 1
    assert touched > 100


async def test_nothing_on_the_server_expires(storage: RedisStorage) -> None:
    await some_of_everything(storage)
    for key in (await storage.server.layout()).all_keys():
        assert await storage.server.ask(b"TTL", key) in (-1, -2)


async def test_drained_threads_leave_nothing(storage: RedisStorage) -> None:
    for start in range(0, 2000, 500):
        await storage.append([(f"app.jobs/Resize/{thread}/0", [b"x"]) for thread in range(start, start + 500)])
    terms, hand = {"app.jobs/Resize": Terms((0,), 9)}, None
    while hand is None or hand.batch.count:
        hand = await storage.turn(hand, None, terms)
    assert await storage.unclaim(hand.key, hand.token)

    layout = await storage.server.layout()
    left = [name for name in NAMES if await storage.server.ask(b"EXISTS", layout.key(0, name))]
    assert left == ["STATE", "CALLS", "FAMILIES", "GONE"]


#: What somebody does to the keys by hand.
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
]


@pytest.mark.parametrize("damage", DAMAGES, ids=" ".join)
async def test_the_check_finds_what_was_done_by_hand(storage: RedisStorage, damage: tuple[str, ...]) -> None:
    await some_of_everything(storage)
    assert await wrongs(storage.server) == []

    command, name, *words = damage
    layout = await storage.server.layout()
    await storage.server.ask(command.encode(), layout.key(0, name), *(word.encode() for word in words))

    assert await wrongs(storage.server)


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
