"""What errors of a server mean: each of them is waited out, or raised as what it is."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path

import pytest
from hiredis import ReplyError

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.copies import check
from shardq.drivers.redis.connections.replies import (
    Elsewhere,
    Moving,
    NoMemory,
    Outage,
    TooFewCopies,
    is_answer,
    meaning,
)
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import ConfigurationError, FencedError, StorageDamaged, StorageRefused, StorageUnavailable
from shardq.handler import drive

#: As servers of several versions say it, and the kind of error that it is.
SAID: list[tuple[str, type[Exception]]] = [
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", Outage),
    ("BUSY Valkey is busy running a script.", Outage),
    ("UNKILLABLE Sorry the script already executed write commands against the dataset.", Outage),
    ("LOADING Redis is loading the dataset in memory", Outage),
    ("CLUSTERDOWN The cluster is down", Outage),
    ("TRYAGAIN Multiple keys request during rehashing of slot", Moving),
    ("NOREPLICAS Not enough good replicas to write.", Outage),
    ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", Outage),
    (
        "ERR Error running script (call to f_0): @user_script:9: @user_script: 9: -MISCONF Errors writing to the AOF",
        Outage,
    ),
    ("ERR max number of clients reached", Outage),
    ("ERR max number of clients + cluster connections reached", Outage),
    ("READONLY You can't write against a read only replica.", Elsewhere),
    ("ERR Error running script (call to f_0): @user_script:9: @user_script: 9: -READONLY You can't write", Elsewhere),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Elsewhere),
    ("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", Elsewhere),
    ("ERR WAIT cannot be used with replica instances.", Elsewhere),
    ("OOM command not allowed when used memory > 'maxmemory'.", NoMemory),
    ("OOM command not allowed when used memory > 'maxmemory'. script: 0, on @user_script:9.", NoMemory),
    ("ERR Error running script (call to f_0): @user_script:9: @user_script: 9: -OOM command not allowed", NoMemory),
    ("NOAUTH Authentication required.", StorageRefused),
    ("WRONGPASS invalid username-password pair or user is disabled.", StorageRefused),
    ("NOPERM this user has no permissions to run the 'evalsha' command", StorageRefused),
    (
        "ERR Error running script (call to f_0): @user_script:2: The user executing the script can't run this command",
        StorageRefused,
    ),
    ("ERR ACL failure in script: User ann has no permissions to run the 'get' command", StorageRefused),
    ("ERR AUTH <password> called without any password configured for the default user.", StorageRefused),
    ("DENIED Redis is running in protected mode because protected mode is enabled", StorageRefused),
    ("ERR DB index is out of range", ConfigurationError),
    ("ERR This instance has cluster support disabled", ConfigurationError),
    ("ERR unknown command 'WAITAOF', with args beginning with: '1'", ConfigurationError),
    ("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.", ConfigurationError),
    ("FENCED token 1 is not the current claim on a", FencedError),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", StorageDamaged),
]


def test_what_a_server_repeats_of_a_command_is_not_shown() -> None:
    """It may be a password."""
    said = "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'ann' 's3cret' "
    assert "s3cret" not in str(meaning(ReplyError(said)))


@pytest.mark.parametrize(("said", "kind"), SAID, ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_an_error_of_the_server_has_its_meaning(said: str, kind: type[Exception]) -> None:
    found = meaning(ReplyError(said))
    assert type(found) is kind
    assert is_answer(found) is not issubclass(kind, Outage)


@pytest.mark.parametrize(
    ("address", "answer", "enough"),
    [
        (Address(replicas=2), 2, True),
        (Address(replicas=2), 1, False),
        (Address(fsync=True), [1, 0], True),
        (Address(fsync=True), [0, 0], False),
        (Address(replicas=1, fsync=True), [1, 1], True),
        (Address(replicas=1, fsync=True), [1, 0], False),
        (Address(replicas=1, fsync=True), [0, 1], False),
    ],
)
def test_as_many_copies_are_wanted_as_the_url_says(address: Address, answer: object, enough: bool) -> None:
    if enough:
        check(address, answer)
    else:
        with pytest.raises(TooFewCopies):
            check(address, answer)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (19, r"name its CA by \?ssl_ca_certs=FILE"),
        (85, "make the certificates anew"),
        (92, "make the certificates anew"),
    ],
    ids=["self-signed", "without the key of its authority", "a CA that does not say that it signs"],
)
def test_a_certificate_that_is_not_trusted_says_what_to_do(code: int, advice: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "as OpenSSL says it"

    told = meaning(error)

    assert isinstance(told, StorageRefused)
    assert re.search(f"is not trusted: as OpenSSL says it: .*{advice}", str(told))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks another protocol than Redis"),
        (b"-MOVED 866 10.0.0.7:6379\r\n", r"is a server of a cluster: .*begin the URL with redis\+cluster://"),
    ],
)
async def test_where_no_storage_can_be_it_is_said_why(said: bytes, reason: str, tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()

    path, errors = str(tmp_path / "socket"), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with await asyncio.start_unix_server(answer, path):
        storage = RedisStorage(Address(path=path))
        storage.server.most_patience_s = 0.0
        with pytest.raises(StorageUnavailable, match=reason):
            await storage.backlog()
        with pytest.raises(StorageUnavailable, match=reason):
            await asyncio.to_thread(drive, storage.backlog())
        await storage.close()
    assert errors == []
