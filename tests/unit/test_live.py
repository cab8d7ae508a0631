"""The line of a family that serves on: what it says, how wide it is, and that it sleeps where nothing is to do."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from unicodedata import east_asian_width

import pytest

from shardq.drivers import SharedStorage
from shardq.drivers.shared.supervised import SupervisedSegment
from shardq.handler import drive
from shardq.model import AtWork, Terms
from shardq.supervisor.output.live import Live
from shardq.supervisor.output.progress import Progress
from shardq.text.printable import fitted
from tests.faults.kit.points import Child
from tests.support.drivers import MIB

PIPE, KEY = "m/H/0/0", "m/H/0"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")


def at_work(number: int, note: str = "", done: float | None = 3, handler: str | None = "app.jobs/Resize") -> AtWork:
    return AtWork(number, 100 + number, handler, "7", 12, 0.5, done, 12, note)


def columns_of(text: str) -> int:
    return sum(2 if east_asian_width(one) in "WF" else 1 for one in text)


def shown(out: io.StringIO) -> str:
    """The last state of the line."""
    return out.getvalue().rpartition("\r")[2].removesuffix("\x1b[K")


def test_the_line_says_what_is_done_and_queued_and_what_workers_are_at() -> None:
    out = Terminal()
    workers = [at_work(1, "b.png"), at_work(2, handler=None), at_work(3, done=None)]
    Progress(0.0, out, ends=False).show(2.0, 1000, 1500, 2, workers)
    assert out.getvalue() == (
        "\r1,000 done, 500 queued, 500/s, 1.0 s left, 2 failed | 1 Resize/7 3/12 25% b.png | 3 Resize/7\x1b[K"
    )


def test_a_bar_leaves_room_for_what_workers_are_at() -> None:
    out = Terminal()
    Progress(0.0, out).show(2.0, 1000, 2000, 0, [at_work(1, "b.png")])
    assert shown(out).endswith("]  50% 1,000/2,000 done, 500/s, 2.0 s left | 1 Resize/7 3/12 25% b.png")
    assert len(shown(out)) <= 119


@pytest.mark.parametrize("columns", [40, 47, 80, 200])
@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("note", ["b.png" * 9, "漢字" * 30, "é" * 60, "a\u0301" * 30])
def test_the_line_is_never_wider_than_the_terminal(
    columns: int, note: str, monkeypatch: pytest.MonkeyPatch, *, ends: bool
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Terminal()
    Progress(0.0, out, ends=ends).show(1.0, 123_456, 1_234_567, 3, [at_work(n, note) for n in range(5)])
    assert columns_of(shown(out)) < columns


def test_no_control_character_of_a_note_reaches_the_terminal() -> None:
    out = Terminal()
    Progress(0.0, out, ends=False).show(1.0, 1, 2, 0, [at_work(1, "\x1b[2J\n\r\u202e")])
    assert shown(out).isprintable()
    assert shown(out).endswith("\\x1b[2J\\n\\r\\u202e")


def test_characters_that_the_output_lacks_do_not_make_the_line_wider() -> None:
    raw = io.BytesIO()

    class Ascii(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    out = Ascii(raw, "ascii", errors="backslashreplace")
    Progress(0.0, out, ends=False).show(1.0, 1, 2, 0, [at_work(1, "é" * 60)])
    out.flush()
    assert len(raw.getvalue().decode().strip("\r").removesuffix("\x1b[K")) == 119


@pytest.mark.parametrize(
    ("text", "columns", "kept"),
    [("abc", 2, "ab"), ("abc", 3, "abc"), ("漢字", 3, "漢"), ("漢字", 4, "漢字"), ("é", 0, ""), ("ab", -1, "")],
)
def test_a_text_is_fitted_into_columns(text: str, columns: int, kept: str) -> None:
    assert fitted(text, columns) == kept


def test_elsewhere_a_plain_line_comes_every_ten_seconds() -> None:
    out = io.StringIO()
    progress = Progress(0.0, out, ends=False)
    for second in range(25):
        progress.show(float(second), second, 100, 0, [at_work(1)])
    assert out.getvalue().splitlines() == [
        "10 done, 90 queued, 1/s, 1:30 left",
        "20 done, 80 queued, 1/s, 1:20 left",
    ]


# Over a real segment


class Taking:
    """Another process, which takes one message when it is told to and ends with it in hand."""

    def __init__(self, segment: SupervisedSegment, *, joins: bool = True) -> None:
        ready, theirs = os.pipe()
        told, self._go = os.pipe()

        def run() -> None:
            store = segment.storage.store
            if joins:
                store.membership.join(1)
            os.write(theirs, b".")
            os.read(told, 1)
            token = store.delivering.claim(KEY)
            assert store.delivering.take(KEY, token, Terms((0,), 1)).count == 1

        self._child = Child(run)
        os.read(ready, 1)
        for descriptor in (ready, theirs, told):
            os.close(descriptor)
        segment.silence()

    def take(self) -> None:
        os.write(self._go, b".")
        os.close(self._go)
        self._child.end()


@pytest.fixture
def segment(name: str) -> Iterator[SupervisedSegment]:
    storage = SharedStorage.create(name, MIB)
    segment = SupervisedSegment(storage, {"m/H"})
    assert segment.become_supervisor()
    segment.bell()
    yield segment
    storage.destroy()


def fill(segment: SupervisedSegment) -> None:
    assert drive(segment.storage.append([(PIPE, [b"0"])]))


def rings(segment: SupervisedSegment) -> bool:
    rang = bool(select.select([segment.bell()], [], [], 0)[0])
    segment.silence()
    return rang


def test_an_idle_family_is_not_looked_at_until_a_worker_takes_a_batch(
    segment: SupervisedSegment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    worker, live = Taking(segment), Live(segment, 0.0)
    live.look(0.0)
    assert live.look_at is None

    fill(segment)
    assert not rings(segment)  # no worker has it
    worker.take()
    assert rings(segment)
    live.on_bell(0.1)
    assert live.look_at == 0.25  # not sooner after the last look
    live.look(0.25)
    assert live.look_at == 0.5  # there is work


def test_a_busy_family_is_not_rung(segment: SupervisedSegment) -> None:
    worker = Taking(segment)
    fill(segment)
    assert not segment.idle()
    worker.take()
    assert not rings(segment)


def test_the_bell_rings_once(segment: SupervisedSegment) -> None:
    first, second = Taking(segment), Taking(segment)
    assert segment.idle()
    fill(segment)
    first.take()
    assert rings(segment)
    second.take()
    assert not rings(segment)


def test_a_process_that_is_no_worker_does_not_ring(segment: SupervisedSegment) -> None:
    other = Taking(segment, joins=False)
    assert segment.idle()
    fill(segment)
    other.take()
    assert not rings(segment)


def test_a_new_supervisor_has_asked_for_nothing(segment: SupervisedSegment) -> None:
    worker = Taking(segment)
    assert segment.idle()
    assert segment.become_supervisor(again=True)
    fill(segment)
    worker.take()
    assert not rings(segment)


def test_nothing_is_shown_before_there_is_something(
    segment: SupervisedSegment, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    live = Live(segment, 0.0)
    live.look(0.0)
    assert out.getvalue() == ""

    fill(segment)
    live.look(1.0)
    assert shown(out) == "0 done, 1 queued, 0/s, unknown left"
    assert drive(segment.storage.remove(PIPE, b"0")) == 1
    live.look(2.0)
    assert shown(out).startswith("1 done, 0 queued, ")
    written = out.getvalue()
    live.look(3.0)
    assert out.getvalue() == written  # nothing has changed, so a line of the log stays the last one
    live.clear()
    assert out.getvalue() == f"{written}\r\x1b[K"
