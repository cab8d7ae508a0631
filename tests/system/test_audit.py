"""`shardq audit`: what commands do is seen by the next operator, with the reason, and without secrets."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT
from typing import Any

import pytest

from shardq import Queue, connect
from shardq.cli import OK, main
from shardq.drivers import SharedStorage
from shardq.model import Action
from tests.support.drivers import MIB
from tests.support.homes import Home, ServerHome, on_each_home
from tests.support.jobs import Folder, Record
from tests.support.letters import Fulfil, Order, User, let_fail, letters_at, name_of
from tests.support.programs import ROOT, clean_environment, until
from tests.support.python import Program
from tests.support.said import Said, Say
from tests.support.segments import new_name, remove_all_like
from tests.support.supervised import Start, client
from tests.support.tasks import LIMIT_S

FULFIL = name_of(Fulfil)
TUBE = f"{FULFIL}/0/0"
HOUR_S = 3600


@pytest.fixture
def said(home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """What a command prints of the test's storage."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Said:
        capsys.readouterr()
        status = main([*map(str, words), "--url", home.url])
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture
def room(home: Home) -> None:
    if home.url.startswith("shm://"):
        SharedStorage.create(home.name, 64 * MIB).detach()


def recorded(said: Say) -> list[tuple[str, str, int, str]]:
    """What, to what, how many, and why; the latest first."""
    return [(its["what"], its["target"], its["count"], its["reason"]) for its in said("audit", "--json").value]


async def _with(url: str, do: Any) -> Any:
    async with await connect(url) as queue:
        return await do(queue)


@on_each_home
@pytest.mark.usefixtures("room")
def test_it_says_when_who_and_how(said: Say) -> None:
    before = time.time()
    assert said("audit").lines == ["nothing was done to it by a command or the page"]
    said("pause", "app/Job", "--reason", "the disk is full")

    [action] = said("audit", "--json").value

    assert action.pop("at") >= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before))
    assert action == {
        "number": 1,
        "what": "pause",
        "target": "app/Job",
        "count": 1,
        "reason": "the disk is full",
        "user": getpass.getuser(),
        "uid": os.geteuid(),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "by": "command",
    }
    titles, line = said("audit").lines
    assert titles.split() == ["utc", "ago", "who", "by", "what", "count", "on", "why"]
    assert f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}  command  pause  1" in line
    assert line.endswith("app/Job  the disk is full")


@on_each_home
@pytest.mark.usefixtures("room")
def test_what_is_done_to_letters_is_recorded(said: Say, home: Home) -> None:
    let_fail(home.url, Fulfil, *(Order(number, User(number), "key") for number in range(6)))
    first, second, *_ = (its.id for its in letters_at(home.url))
    said("dead", "requeue", first, second, "--reason", "the shop is back")
    edited = letters_at(home.url)[0].id
    said("dead", "edit", edited, "--set", "how=")
    said("dead", "drop", FULFIL, "--match", "user.id=3", "--match", "type=KeyError", "--yes", "--reason", "3")
    said("dead", "drop", "--all", "--match", "user.id=99", "--yes")
    said("dead", "requeue", "--all", "--yes")
    [exported] = Path().glob("shardq-dropped-*")
    said("dead", "requeue", "--from", exported, "--yes")
    tube = said("tubes", "--json").value[0]
    said("park", tube["pipe"])

    assert recorded(said) == [
        ("park", tube["pipe"], tube["queued"], ""),
        ("dead requeue", f"from {exported}", 1, ""),
        ("dead requeue", "all", 2, ""),
        ("dead drop", f"{FULFIL}, user.id=***, type=KeyError", 1, "3"),
        ("dead edit", edited, 1, ""),
        ("dead requeue", f"{first}, {second}", 2, "the shop is back"),
    ]


@on_each_home
@pytest.mark.usefixtures("room")
def test_what_is_done_to_requests_that_wait_is_recorded(said: Say, home: Home) -> None:
    async def register(queue: Queue) -> None:
        for number in range(1, 4):
            await queue.register(Fulfil, Order(number, User(number)), defer=number * HOUR_S)
        await queue.register(Fulfil, Order(9, User(9)), recurrent=HOUR_S)

    asyncio.run(_with(home.url, register))
    waiting = [its["id"] for its in said("later", "list", "--json").value]
    [again] = [its for its in waiting if "#" in its]
    once = [its for its in waiting if "#" not in its]
    said("later", "run", once[0])
    cancelled = said("later", "cancel", "--handler", FULFIL, "--match", "user.id=3", "--yes", "--json").value
    said("later", "restore", cancelled["export"], "--yes", "--reason", "after all")
    said("later", "skip", again)
    said("recurrent", "cancel", again, "--reason", "no more")

    assert recorded(said) == [
        ("recurrent cancel", again, 1, "no more"),
        ("later skip", again, 1, ""),
        ("later restore", f"from {Path(cancelled['export']).name}", 1, "after all"),
        ("later cancel", f"{FULFIL}, user.id=***", 1, ""),
        ("later run", once[0], 1, ""),
    ]


@on_each_home
@pytest.mark.usefixtures("room")
def test_what_hits_nothing_or_is_refused_is_not_recorded(said: Say) -> None:
    said("resume", "app/Job")
    said("pause", "no handler")
    said("dead", "requeue", f"{FULFIL}#1")
    said("dead", "drop", "--all", "--yes")
    said("later", "cancel", "--all", "--yes")
    said("later", "run", "--all", "--yes")
    said("park", TUBE)
    said("recurrent", "cancel", "--all")

    assert recorded(said) == []


def test_a_move_is_recorded_at_both_ends(home: Home, said: Say, capsys: pytest.CaptureFixture[str]) -> None:
    home.leave(Fulfil, [Order(1, User(1)), Order(2, User(2))])
    target = new_name()
    try:
        assert main(["move", home.url, f"shm://{target}", "--reason", "a larger machine"]) == OK
        assert main(["move", home.url, f"shm://{target}"]) == OK  # nothing is left to do
        assert recorded(said) == [("move", f"to shm://{target}", 2, "a larger machine")]
        capsys.readouterr()
        assert main(["audit", "--json", "--url", f"shm://{target}"]) == OK
        [action] = json.loads(capsys.readouterr().out)
        assert (action["what"], action["target"], action["count"]) == ("move", f"from {home.url}", 2)
    finally:
        remove_all_like(target)


@on_each_home
def test_what_programs_do_with_their_requests_is_not_recorded(
    home: Home, start: Start, said: Say, folder: Folder
) -> None:
    program = start(Record.__module__, "--url", home.url, "--workers", 2).serving()
    with client(home.url) as queue:
        queue.register_sync(Record, *folder.notes(range(20)))
        until(lambda: len(folder.done()) == 20, "all are handled")
        assert recorded(said) == []
    assert program.stop() == 0


@pytest.mark.parametrize("home", [ServerHome], indirect=True, ids=["server"])
def test_an_action_is_done_that_cannot_be_recorded(home: Home, said: Say, caplog: pytest.LogCaptureFixture) -> None:
    async def spoil(queue: Queue) -> None:
        """Something else stands where the actions should be."""
        server: Any = queue.storage
        layout = await server.server.layout()
        await server.server.ask(b"SET", layout.key(0, "ACTIONS"), b"none")

    async def mend(queue: Queue) -> None:
        server: Any = queue.storage
        layout = await server.server.layout()
        await server.server.ask(b"DEL", layout.key(0, "ACTIONS"))

    asyncio.run(_with(home.url, spoil))
    try:
        answer = said("pause", "app/Job", "--json")
        assert answer.status == OK
        assert json.loads(answer.out)["handler"] == "app/Job"
        assert "pause was done, and could not be recorded" in caplog.text
    finally:
        asyncio.run(_with(home.url, mend))
    assert [its["handler"] for its in said("status", "--sample", 0, "--json").value["paused"]] == ["app/Job"]
    assert said("resume", "app/Job").status == OK


class Following:
    """`shardq audit --follow`, whose standard output the test reads."""

    def __init__(self, url: str, *words: str) -> None:
        self.program = Program[bytes](
            (sys.executable, "-m", "shardq", "audit", "--url", url, "--follow", *words),
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._rest = b""

    def line(self) -> str:
        """The next one."""
        assert self.program.stdout is not None
        descriptor, deadline = self.program.stdout.fileno(), time.monotonic() + LIMIT_S
        while b"\n" not in self._rest:
            ready, _, _ = select.select([descriptor], (), (), max(0.0, deadline - time.monotonic()))
            assert ready, f"no further line came: {self._rest!r}"
            data = os.read(descriptor, 1 << 16)
            assert data, "it ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


@pytest.fixture
def following(home: Home) -> Iterator[list[Following]]:
    started = list[Following]()
    yield started
    for each in started:
        each.program.kill()
        each.program.communicate()


@pytest.mark.usefixtures("room")
def test_it_follows_only_what_comes_where_no_earlier_ones_are_wanted(home: Home, following: list[Following]) -> None:
    asyncio.run(_with(home.url, lambda queue: queue.storage.record(Action("pause", "app/A"))))
    follow = Following(home.url, "--json", "--limit", "0")
    following.append(follow)
    assert follow.program.stdout is not None

    def shows_one() -> bool:
        asyncio.run(_with(home.url, lambda queue: queue.storage.record(Action("pause", "app/B"))))
        return bool(select.select([follow.program.stdout], (), (), 0)[0])

    until(shows_one, "it shows what came after it had looked")
    assert json.loads(follow.line())["target"] == "app/B"


@pytest.mark.usefixtures("room")
def test_it_ends_where_its_reader_leaves_though_nothing_comes(home: Home, following: list[Following]) -> None:
    asyncio.run(_with(home.url, lambda queue: queue.storage.record(Action("pause", "app/A"))))
    following.append(follow := Following(home.url))
    assert follow.line().endswith("app/A")
    assert follow.program.stdout is not None
    follow.program.stdout.close()
    follow.program.stdout = None
    assert follow.program.wait(LIMIT_S) == OK


@on_each_home
@pytest.mark.usefixtures("room")
def test_it_follows_what_comes(home: Home, following: list[Following]) -> None:
    async def record(queue: Queue, *names: str) -> None:
        for name in names:
            await queue.storage.record(Action("pause", name))

    asyncio.run(_with(home.url, lambda queue: record(queue, "app/A", "app/B", "app/C")))
    follow = Following(home.url, "--json", "--limit", "2")
    following.append(follow)
    assert [json.loads(follow.line())["target"] for _ in range(2)] == ["app/B", "app/C"]

    asyncio.run(_with(home.url, lambda queue: record(queue, "app/D", "app/E", "app/F")))

    assert [json.loads(follow.line())["target"] for _ in range(3)] == ["app/D", "app/E", "app/F"]
    follow.program.send_signal(SIGINT)
    assert follow.program.wait(LIMIT_S) == OK
    assert follow.program.stderr is not None
    assert follow.program.stderr.read() == b""
