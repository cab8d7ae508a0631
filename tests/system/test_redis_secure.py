"""Servers that are reached by TLS, and servers that want to know who comes."""

from __future__ import annotations

import asyncio
import json
import logging
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shardq import Queue, Supervisor, connect
from shardq.cli import OK, main
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.connections.address import Address, of_url
from shardq.drivers.redis.connections.wire import PlainWire, packed
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import StorageRefused, StorageUnavailable
from shardq.supervisor.exits import Exit
from tests.support.certificates import Certificates
from tests.support.jobs import Folder, Record
from tests.support.leaks import segment_name
from tests.support.ports import free_ports
from tests.support.programs import ROOT, Supervise, clean_environment
from tests.support.redis_proxy import proxied
from tests.support.redis_server import Server, program, running_server
from tests.support.tasks import LIMIT_S

pytestmark = pytest.mark.every_case

SECRET = "hush-hush"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def prefix() -> Iterator[str]:
    prefix = f"{segment_name()}_"
    yield prefix
    for key in running_server().ask("KEYS", f"{prefix}*"):
        running_server().ask("DEL", key.decode())


@asynccontextmanager
async def by_tls(certificates: Certificates, folder: Path) -> AsyncIterator[str]:
    """A URL without options."""
    async with proxied(folder, running_server().socket, certificates.of_server()) as proxy:
        yield f"rediss://localhost:{proxy.port}/0"


@pytest.mark.parametrize("protocol", [2, 3])
async def test_requests_come_and_go_by_tls(
    certificates: Certificates, tmp_path: Path, folder: Folder, prefix: str, protocol: int
) -> None:
    async with by_tls(certificates, tmp_path) as url:
        url += f"?ssl_ca_certs={certificates.authority}&prefix={prefix}&protocol={protocol}"
        async with Supervisor(Record, workers=1, url=url) as supervisor:
            await supervisor.queue.register(Record, *folder.notes(range(200), padding=2000))
            assert await supervisor.drain(LIMIT_S)
            await supervisor.queue.register(Record, *folder.notes([200]))  # its worker sleeps, and is woken
            await asyncio.to_thread(folder.until, "done", 200)  # the proxy needs the event loop
    assert folder.done() == list(range(201))


async def test_requests_come_and_go_by_tls_in_a_cluster(
    certificates: Certificates, tmp_path: Path, folder: Folder
) -> None:
    """Its one server names the port that speaks TLS, as each server of a cluster with TLS does."""
    server = Server(program(), "--cluster-enabled", "yes", "--requirepass", SECRET, port=free_ports(1)[0])
    server.start()
    try:
        async with proxied(tmp_path, server.socket, certificates.of_server()) as proxy:
            wire = PlainWire(Address(path=str(server.socket), password=SECRET))
            wire.ask(packed(b"CLUSTER", b"ADDSLOTS", *(b"%d" % slot for slot in range(16384))))
            wire.ask(packed(b"CONFIG", b"SET", b"cluster-announce-port", b"%d" % proxy.port))
            wire.ask(packed(b"CONFIG", b"SET", b"cluster-announce-ip", b"127.0.0.1"))
            wire.close()
            options = f"ssl_ca_certs={certificates.authority}&ssl_check_hostname=false&protocol=3&partitions=4"
            url = f"rediss+cluster://:{SECRET}@localhost:{proxy.port}?{options}"
            async with Supervisor(Record, workers=1, url=url) as supervisor:
                await supervisor.queue.register(Record, *folder.notes(range(20), threads=8))
                assert await supervisor.drain(LIMIT_S)
    finally:
        server.end()
    assert sorted(folder.done()) == list(range(20))


async def test_a_supervisor_listens_by_tls_without_waiting(certificates: Certificates, tmp_path: Path) -> None:
    async with by_tls(certificates, tmp_path) as url:
        address = of_url(f"{url}?ssl_ca_certs={certificates.authority}").address

        def listen() -> None:
            wire = PlainWire(address)
            wire.say(packed(b"SUBSCRIBE", b"any"))
            for _ in range(3):
                select.select((wire.descriptor,), (), (), 0.1)
                wire.heard()
            wire.close()

        await asyncio.to_thread(listen)


async def test_a_server_that_cannot_show_who_it_is_is_refused_at_once(
    certificates: Certificates, tmp_path: Path, prefix: str
) -> None:
    async with by_tls(certificates, tmp_path) as url:
        with pytest.raises(StorageRefused, match=r"not trusted.*ssl_ca_certs"):
            await connect(f"{url}?prefix={prefix}")
        with pytest.raises(StorageRefused, match="not trusted"):
            await connect(f"{url}?ssl_ca_certs={certificates.authority}".replace("localhost", "127.0.0.1"))
        for option in ("ssl_cert_reqs=none", f"ssl_check_hostname=false&ssl_ca_certs={certificates.authority}"):
            await (await connect(f"{url}?{option}&prefix={prefix}".replace("localhost", "127.0.0.1"))).close()


async def test_a_server_without_tls_is_not_spoken_to_without_it(tmp_path: Path, certificates: Certificates) -> None:
    server = Server(program(), port=0)
    server.start()
    try:
        async with proxied(tmp_path, server.socket) as proxy:
            storage = storage_of(f"rediss://localhost:{proxy.port or 1}")
            storage.server.most_patience_s = 0.0
            with pytest.raises(StorageUnavailable):
                await storage.backlog()
            await storage.close()
    finally:
        server.end()


# Users and passwords


@pytest.fixture
def guarded() -> Iterator[Server]:
    """A server with a user of all rights, one without, and none that needs no password."""
    users = f"--user ann on >{SECRET} ~* &* +@all --user bob on >{SECRET} ~bob* +get --user default off"
    server = Server(program(), *users.split())
    server.start()
    yield server
    server.end()


def url_of(server: Server, user: str, password: str = SECRET, more: str = "") -> str:
    return f"redis+unix://{user}:{password}@{server.socket}?{more}"


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_user_is_let_in_with_its_password(guarded: Server, protocol: int) -> None:
    queue = await connect(url_of(guarded, "ann", more=f"protocol={protocol}&db=1"))
    assert await queue.storage.append([("app.jobs/Resize/7/0", [b"x"])]) == 1
    await queue.close()


@pytest.mark.parametrize(("user", "password"), [("ann", "wrong"), ("bob", SECRET), ("default", ""), ("nobody", SECRET)])
async def test_a_user_that_is_refused_is_told_so_at_once(guarded: Server, user: str, password: str) -> None:
    with pytest.raises(StorageRefused, match="check user, password and rights") as told:
        await connect(url_of(guarded, user, password))
    assert SECRET not in str(told.value)


def supervise_once(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "shardq.supervise", f"{Record.__module__}:Record"),
        env=clean_environment() | {"QUEUE_SUPERVISOR_URL": url} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_a_supervisor_that_is_refused_ends_with_a_code_of_its_own(guarded: Server) -> None:
    done = supervise_once(url_of(guarded, "bob"))
    assert done.returncode == Exit.SEGMENT
    assert "check user, password and rights" in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_a_complaint_about_another_setting_shows_no_password(guarded: Server) -> None:
    done = supervise_once(url_of(guarded, "ann"), QUEUE_SUPERVISOR_WORKERS="many")
    assert done.returncode == Exit.USAGE
    assert "workers" in done.stderr.lower()
    assert SECRET not in done.stdout + done.stderr


def admin(server: Server, *words: str) -> None:
    wire = PlainWire(Address(path=str(server.socket), username="ann", password=SECRET))
    wire.ask(packed(*(word.encode() for word in words)))
    wire.close()


def test_a_family_serves_again_once_it_has_its_rights_back(guarded: Server, folder: Folder) -> None:
    admin(guarded, "ACL", "SETUSER", "eve", "on", f">{SECRET}", "~*", "&*", "+@all")
    words = (f"{Record.__module__}:Record", "--workers", 1, "--respawn-delay", "0.05")
    family = Supervise(*words, environment={"QUEUE_SUPERVISOR_URL": url_of(guarded, "eve")})
    queue = Queue(storage_of(url_of(guarded, "ann")))
    try:
        queue.register_sync(Record, *folder.notes([1]))
        folder.until("done", 1)
        admin(guarded, "ACL", "SETUSER", "eve", "-evalsha", "-eval")
        queue.register_sync(Record, *folder.notes([2]))
        family.hear("worker cannot serve.*check user, password and rights")
        family.hear(f"exit code {Exit.SEGMENT.value}")
        admin(guarded, "ACL", "SETUSER", "eve", "+@all")
        folder.until("done", 2)
        assert family.stop() == Exit.OK
    finally:
        family.discard()
        queue.storage.server.close()  # type: ignore[attr-defined]
    assert SECRET not in family.heard


async def test_a_user_that_may_not_be_woken_is_told_so(guarded: Server) -> None:
    admin(guarded, "ACL", "SETUSER", "eve", "on", f">{SECRET}", "~*", "resetchannels", "+@all")
    storage = storage_of(url_of(guarded, "eve"))
    with pytest.raises(StorageRefused, match="check user, password and rights"):
        await storage.wait(None)
    await storage.close()


def test_no_command_shows_a_password(guarded: Server, capsys: pytest.CaptureFixture[str]) -> None:
    url = url_of(guarded, "ann")
    said = ""
    for words in (["status", "--json", "--sample", "0"], ["status", "--sample", "0"], ["tubes"], ["check", "--json"]):
        assert main([*words, "--url", url]) == OK
        read = capsys.readouterr()
        said += read.out + read.err
    assert main(["destroy", "--json", "--url", url]) == OK
    read = capsys.readouterr()
    assert json.loads(read.out)["destroyed"]
    for bad in (
        url_of(guarded, "ann", f"{SECRET}-wrong"),
        f"redis://ann:{SECRET}@127.0.0.1:1",
        f"red://:{SECRET}@host",
    ):
        assert main(["status", "--url", bad]) != OK
        read = capsys.readouterr()
        said += read.out + read.err
    assert "refuses" in said
    assert SECRET not in said


async def test_no_log_shows_a_password(guarded: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    storage = storage_of(url_of(guarded, "ann"))
    await storage.append([("app.jobs/Resize/7/0", [b"x"])])
    guarded.kill()
    storage.server.most_patience_s = 0.2
    with pytest.raises(StorageUnavailable) as told:
        await storage.backlog()
    guarded.start()
    await storage.close()

    [record] = [record for record in caplog.records if record.message == "server not available"]
    text = " ".join(str(value) for record in caplog.records for value in record.__dict__.values())
    assert str(guarded.socket) in str(record.__dict__["server"])
    assert SECRET not in text + str(told.value) + repr(told.value.__cause__)


async def test_rights_that_are_taken_away_are_told_of_and_given_back_they_count(guarded: Server) -> None:
    queue = await connect(url_of(guarded, "ann"))
    storage = queue.storage
    assert isinstance(storage, RedisStorage)
    admin = storage_of(url_of(guarded, "ann"))
    await admin.server.ask(b"ACL", b"SETUSER", b"eve", b"on", f">{SECRET}".encode(), b"~*", b"&*", b"+@all")
    eve = storage_of(url_of(guarded, "eve"))
    assert await eve.append([("app.jobs/Resize/7/0", [b"x"])]) == 1
    await admin.server.ask(b"ACL", b"SETUSER", b"eve", b"-set", b"-setrange")
    with pytest.raises(StorageRefused, match="check user, password and rights"):
        await eve.append([("app.jobs/Resize/7/0", [b"x"])])
    await admin.server.ask(b"ACL", b"SETUSER", b"eve", b"+@all")
    assert await eve.append([("app.jobs/Resize/7/0", [b"x"])]) == 1
    for its in (storage, admin, eve):
        await its.close()
