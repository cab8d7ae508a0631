"""`python -m shardq` on a storage on a server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shardq import Queue, cli
from shardq.drivers.redis.connecting import storage_of
from shardq.handler import drive
from tests.support.jobs import Note, Record
from tests.support.leaks import segment_name
from tests.support.redis_server import removed_when_right, running_server

NOTES = [Note("", number, number % 4) for number in range(8)]
TUBE = f"{Record.__module__}/Record/3/0"

#: Runs a command, expects this exit code, and returns what it printed.
Command = Callable[..., str]


@pytest.fixture
def url() -> Iterator[str]:
    url = f"{running_server().url}?prefix={segment_name()}_"
    yield url
    storage = storage_of(url)
    asyncio.run(removed_when_right(storage))


@pytest.fixture
def command(url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*words: str, code: int = cli.OK) -> str:
        assert cli.main([*words, "--url", url]) == code
        said = capsys.readouterr()
        return said.out + said.err

    return run


@pytest.fixture(autouse=True)
def _some_requests(url: str) -> None:
    queue = Queue(storage_of(url))
    assert queue.register_sync(Record, *NOTES) == len(NOTES)
    assert queue.register_sync(Record, NOTES[0], recurrent=3600) == 1
    queue.storage.server.close()  # type: ignore[attr-defined]


def test_status_shows_figures_and_who_has_a_thread(url: str, command: Command) -> None:
    storage = storage_of(url)
    assert asyncio.run(storage.claim(TUBE.rpartition("/")[0]))
    asyncio.run(storage.close())

    said = json.loads(command("status", "--json", "--sample", "0"))
    assert (said["queued"], said["recurrent"], said["rates"]) == (8, 1, None)
    assert time.time() < said["next_due_us"] / 1e6 <= time.time() + 3600
    [family] = said["families"]
    assert (family["host"], family["supervisor_pid"], family["state"]) == (socket.gethostname(), None, "serving")
    [worker] = family["workers"]
    assert (worker["pid"], worker["threads"][0]["thread"]) == (os.getpid(), f"{Record.__module__}/Record/3")
    text = command("status", "--sample", "0.01")
    assert "8 queued, 0 of 8 handled" in text
    assert "0 deferred, 1 recurrent; the next is due in" in text
    assert "in use" in command("destroy", "--with-requests", code=cli.FAILED)


def test_tubes_and_requests_are_shown(command: Command) -> None:
    assert TUBE in command("tubes")
    assert json.loads(command("peek", TUBE, "--json")) == [["", 3, 3, ""], ["", 7, 3, ""]]
    assert "nothing is wrong" in command("check")


def test_check_says_what_is_wrong(url: str, command: Command) -> None:
    storage = storage_of(url)
    layout = drive(storage.server.layout())
    assert drive(storage.server.ask(b"DEL", layout.key(0, "READY")))

    said = command("check", code=cli.FAILED)
    assert "READY" in said
    assert re.search(r"\d things? wrong\n", said)
    drive(storage.server.destroy())
    drive(storage.close())


def test_requests_are_parked_and_put_back(command: Command) -> None:
    assert json.loads(command("park", TUBE, "--json")) == {"parked": 2}
    assert len(json.loads(command("dead", "list", "--json"))) == 2
    assert json.loads(command("dead", "requeue", "--all", "--yes", "--head", "--json")) == {"requeued": 2}
    assert json.loads(command("peek", TUBE, "--json")) == [["", 3, 3, ""], ["", 7, 3, ""]]


def test_dead_letters_are_shown_and_dropped(command: Command) -> None:
    command("park", TUBE)
    [first, second] = json.loads(command("dead", "list", f"{Record.__module__}/Record", "--json"))
    shown = json.loads(command("dead", "show", first["id"], "--json"))
    assert (shown["reason"], shown["request"]) == ("parked", ["", 3, 3, ""])
    assert json.loads(command("dead", "drop", first["id"], "--json"))["dropped"] == 1
    assert first["id"] in command("dead", "show", first["id"], code=cli.FAILED)
    assert json.loads(command("dead", "drop", "--all", "--yes", "--json"))["dropped"] == 1
    assert "no dead letters" in command("dead", "list")
    assert second["id"] != first["id"]


def test_recurrent_requests_are_listed_and_ended(command: Command) -> None:
    [listed] = json.loads(command("recurrent", "list", "--json"))
    assert listed["schedule"] == "every 3600"
    assert json.loads(command("recurrent", "cancel", listed["id"], "--json")) == {"ended": 1}


def test_a_storage_with_requests_is_removed_only_where_that_is_wanted(command: Command) -> None:
    assert "--with-requests" in command("destroy", code=cli.FAILED)
    command("destroy", "--with-requests")
    assert json.loads(command("status", "--json", "--sample", "0"))["accepted"] == 0


def test_a_storage_is_removed_by_the_names_of_its_keys(url: str, command: Command) -> None:
    """Another one, whose prefix begins with the same letters, keeps all of its keys."""
    beside = storage_of(f"{url}beside_")
    assert Queue(beside).register_sync(Record, *NOTES) == len(NOTES)
    with closing(socket.socket(socket.AF_UNIX)) as monitor:
        monitor.connect(str(running_server().socket))
        monitor.sendall(b"MONITOR\r\n")
        assert monitor.recv(5) == b"+OK\r\n"
        command("destroy", "--with-requests")
        drive(beside.server.ask(b"EXISTS", f"{beside.settings.prefix}end of the test".encode()))
        said = b""
        while b"end of the test" not in said:
            said += monitor.recv(1 << 16)

    assert not re.search(rb'"(KEYS|SCAN|FLUSHDB|FLUSHALL)"', said)
    assert drive(beside.backlog()).queued == len(NOTES)
    layout = drive(beside.server.layout())
    prefix = beside.settings.prefix.encode()
    names = [name.replace(prefix, prefix.removesuffix(b"beside_")) for name in layout.keys_of(0)]
    assert [name for name in names if drive(beside.server.ask(b"EXISTS", name))] == []
    drive(beside.server.destroy())
    drive(beside.close())
