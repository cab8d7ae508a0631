"""`shardq status --watch`: on a terminal, in a pipe, as JSON, and while its storage goes and comes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from signal import SIGINT
from typing import Any

import pytest

from shardq.cli.screen import in_place
from shardq.drivers import SharedStorage
from tests.support.drivers import MIB
from tests.support.homes import Home, ServerHome
from tests.support.jobs import Folder, Gated
from tests.support.programs import ROOT, clean_environment
from tests.support.python import Program, run
from tests.support.supervised import Start, client
from tests.support.tasks import LIMIT_S
from tests.system.test_json_page import PAGE, check
from tests.system.test_terminal import Pty

JOBS = Gated.__module__
HOSTILE = "app.\x1b[31mred\u202e/Resize/3/0"


class Watching:
    """`shardq status --watch`, whose standard output the test reads."""

    def __init__(self, url: str, *words: object, output: int | None = None, **environment: str) -> None:
        """`output`: a terminal; without it a pipe is read."""
        command = (sys.executable, "-m", "shardq", "status", "--url", url, "--watch", *map(str, words))
        self.program = Program[bytes](
            command,
            cwd=ROOT,
            env=clean_environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if output is None else output,
            stderr=subprocess.PIPE,
        )
        self._descriptor = -1
        if self.program.stdout is not None:
            self._descriptor = self.program.stdout.fileno()
        self.seen = ""

    def read_from(self, descriptor: int) -> Watching:
        self._descriptor = descriptor
        return self

    def until(self, pattern: str, times: int = 1) -> str:
        """Wait until it wrote this so often, and return all that it wrote."""
        deadline = time.monotonic() + LIMIT_S
        while len(re.findall(pattern, self.seen, re.MULTILINE)) < times:
            ready, _, _ = select.select([self._descriptor], (), (), max(0.0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} was not seen {times} times in:\n{self.seen}"
            data = os.read(self._descriptor, 1 << 16)
            assert data, f"it ended after:\n{self.seen}"
            self.seen += data.decode(errors="replace")
        return self.seen

    def interrupt(self) -> int:
        """Ctrl-C."""
        self.program.send_signal(SIGINT)
        return self.end()

    def end(self) -> int:
        _, errors = self.program.communicate(timeout=LIMIT_S)
        assert errors == b""
        return self.program.returncode


Watch = Callable[..., Watching]


@pytest.fixture
def watch(url: str) -> Iterator[Watch]:
    started = list[Watching]()

    def starter(*words: object, **options: Any) -> Watching:
        started.append(Watching(url, *words, **options))
        return started[-1]

    yield starter
    for its in started:
        if its.program.poll() is None:
            its.program.kill()
            its.program.communicate()


@pytest.fixture
def terminal() -> Iterator[Pty]:
    terminal = Pty()
    yield terminal
    terminal.close()


def sized(terminal: Pty, lines: int, columns: int) -> Pty:
    fcntl.ioctl(terminal.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    return terminal


def made(name: str, *pipes: str) -> SharedStorage:
    """A segment with a request in each of these tubes."""
    storage = SharedStorage.create(name, 8 * MIB)
    for pipe in pipes:
        assert asyncio.run(storage.append([(pipe, [b"\x01"])]))
    return storage


def test_a_pipe_gets_a_block_for_each_look_until_ctrl_c(watch: Watch, name: str) -> None:
    made(name, HOSTILE).detach()
    watching = watch(0.1)
    seen = watching.until(r"^requests: 1 queued", times=3)
    assert watching.interrupt() == 0
    assert [one for one in seen if not (one.isprintable() or one == "\n")] == []
    first, second, *_ = seen.split("\n\n\n") if "\n\n\n" in seen else re.split(r"\n\n(?=\d\d:\d\d:\d\d, )", seen)
    assert re.match(r"\d\d:\d\d:\d\d, unserved, the oldest request waits ", first)
    assert "/s in" not in first
    assert "(0/s in, 0/s out)" in second


def test_a_pipe_whose_reader_is_gone_ends_it_silently(watch: Watch, name: str) -> None:
    made(name, HOSTILE).detach()
    watching = watch(1000)
    watching.until(r"^requests: 1 queued")
    assert watching.program.stdout is not None
    watching.program.stdout.close()
    watching.program.stdout = None
    assert watching.end() == 0


def test_a_terminal_is_rewritten_in_place(watch: Watch, name: str, terminal: Pty) -> None:
    made(name, HOSTILE).detach()
    sized(terminal, 24, 60)
    watching = watch(0.1, output=terminal.theirs, TERM="xterm").read_from(terminal.mine)
    watching.until(r"\x1b\[H", times=3)
    sized(terminal, 24, 50)
    seen = watching.until(r"\x1b\[2J", times=2)
    assert watching.interrupt() == 0
    one, other, *_ = seen.split("\x1b[H")[1:]
    assert one.startswith("\x1b[2J")
    assert "\x1b[2J" not in other
    assert other.endswith("\x1b[K\x1b[J")
    rows = other.replace("\x1b[J", "").split("\x1b[K\r\n")
    assert max(map(len, rows)) <= 59 + len("\x1b[K")
    assert "\\x1b[31mred\\u202e" in other


@pytest.mark.parametrize(("term", "columns"), [("dumb", 80), ("xterm", 39)])
def test_a_terminal_that_cannot_be_rewritten_gets_blocks(
    watch: Watch, name: str, terminal: Pty, term: str, columns: int
) -> None:
    made(name, HOSTILE).detach()
    sized(terminal, 24, columns)
    watching = watch(0.1, output=terminal.theirs, TERM=term).read_from(terminal.mine)
    seen = watching.until(r"^requests: 1 queued, 0 of 1 handled", times=2)
    assert watching.interrupt() == 0
    assert "\x1b" not in seen


def test_json_is_an_object_a_line(watch: Watch, name: str, start: Start, url: str, folder: Folder, home: Home) -> None:
    home.leave(Gated, folder.notes([0]))
    program = start(JOBS, "--url", url, "--workers", 1)
    folder.until("begin", 0)
    with client(url) as queue:
        asyncio.run(queue.storage.pause(f"{JOBS}/Record"))
    watching = watch(0.1, "--json")
    lines = list(map(json.loads, watching.until("\n", times=2).splitlines()[:2]))
    assert watching.interrupt() == 0

    usual = {key.partition(".")[0].partition("[")[0] for key in PAGE["status, of a segment"]}
    check("status, of a segment", {key: value for key, value in lines[1].items() if key in usual})
    check(
        "status, with --watch",
        {key: value for key, value in lines[1].items() if key not in usual},
    )
    assert [line["flow"] is None for line in lines] == [True, False]
    with client(url) as queue:
        asyncio.run(queue.storage.resume(f"{JOBS}/Record"))
    folder.permit(1)
    assert program.stop() == 0


@pytest.mark.parametrize("home", [ServerHome], indirect=True, ids=["server"])
def test_a_server_is_watched(watch: Watch, start: Start, home: Home, folder: Folder) -> None:
    home.leave(Gated, folder.notes([0]))
    program = start(JOBS, "--url", home.url, "--workers", 1)
    folder.until("begin", 0)
    watching = watch(0.1)
    watching.until(r"^requests: 1 queued, 0 of 1 handled  \(0/s in, 0/s out\)", times=2)
    assert watching.interrupt() == 0
    assert re.search(rf"{JOBS}/Gated/0 +1 ", watching.seen)
    folder.permit(1)
    assert program.stop() == 0


def test_a_storage_that_goes_may_come_again(watch: Watch, name: str) -> None:
    storage = made(name, HOSTILE)
    watching = watch(0.1)
    watching.until(r"^requests: 1 queued")
    storage.destroy()
    watching.until(rf"^shm://{name}: there is no segment")
    made(name, HOSTILE, "a/B/0/0").detach()
    again = watching.until(r"^requests: 2 queued, 0 of 2 handled").rpartition(": there is no segment")[2]
    assert "/s in" not in re.findall(r"^requests: .*", again, re.MULTILINE)[0], "rates begin anew"
    assert watching.interrupt() == 0


def test_a_storage_that_is_not_there_in_the_beginning_is_an_error(url: str) -> None:
    command = (sys.executable, "-m", "shardq", "status", "--url", url, "--watch")
    done = run(command, cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"there is no segment" in done.stderr


@pytest.mark.parametrize("words", [("--watch", "0"), ("--watch", "soon"), ("--watch", "1", "--sample", "1")])
def test_what_makes_no_watch_is_refused(words: tuple[str, ...], url: str) -> None:
    done = run((sys.executable, "-m", "shardq", "status", "--url", url, *words), cwd=ROOT, capture_output=True)
    assert done.returncode == 2
    assert b"error: argument --" in done.stderr


# A text in its place


def test_what_does_not_fit_is_counted() -> None:
    text = "".join(f"line {number}\n" for number in range(10))
    rows = in_place(text, 4, 80).replace("\x1b[J", "").split("\x1b[K\n")
    assert rows == ["line 0", "line 1", "line 2", "and 7 lines more\x1b[K"]


@pytest.mark.parametrize("columns", [1, 2, 5, 79])
def test_no_row_reaches_the_last_column(columns: int) -> None:
    for row in in_place("größe 中文字 \U0001f600 abc\n" * 3, 24, columns).replace("\x1b[J", "").split("\x1b[K\n"):
        assert len(row.removesuffix("\x1b[K")) <= columns - 1
