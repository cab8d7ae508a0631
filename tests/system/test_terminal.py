"""A supervisor that was started from a terminal, on a real one, which goes away."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shardq.supervisor.exits import Exit
from tests.support.fickle import FICKLE, written
from tests.support.jobs import Folder, Gated, Record
from tests.support.programs import Supervise
from tests.support.segments import files_of
from tests.support.supervised import Start, client, dead_letters, leave_in_segment, left_in

JOBS = Gated.__module__


class Pty:
    """A terminal whose other end the test holds."""

    def __init__(self) -> None:
        self.mine, self.theirs = pty.openpty()

    def take(self) -> None:
        """In a child, in a session of its own: make it the controlling terminal, whose end is heard. Tests may run
        under `nohup`.
        """
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        fcntl.ioctl(self.theirs, termios.TIOCSCTTY, 0)

    def take_and_ignore_its_end(self) -> None:
        """As `nohup` does."""
        self.take()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def close(self) -> None:
        for descriptor in (self.mine, self.theirs):
            if descriptor >= 0:
                os.close(descriptor)
        self.mine = self.theirs = -1


@pytest.fixture
def terminal() -> Iterator[Pty]:
    terminal = Pty()
    yield terminal
    terminal.close()


def serve_on(terminal: Pty, start: Start, url: str, *, module: str = JOBS, **options: object) -> Supervise:
    """Start a supervisor in a session of its own, by default with the terminal as its controlling one and as its
    standard input.
    """
    one_by_one = {"QUEUE_WORKER_BATCH_SIZE": "1"}
    options = {"stdin": terminal.theirs, "preexec_fn": terminal.take, "environment": one_by_one} | options
    program: Supervise = start(
        module,
        *("--url", url, "--workers", 1),
        process_group=None,
        start_new_session=True,
        **options,
    )
    return program.serving()


def controlling(terminal: Pty) -> dict[str, object]:
    return {}


def controlling_only(terminal: Pty) -> dict[str, object]:
    return {"stdin": subprocess.DEVNULL}


def controlling_with_output(terminal: Pty) -> dict[str, object]:
    return {"stdout": terminal.theirs}


@pytest.mark.parametrize("options", [controlling, controlling_only, controlling_with_output])
def test_a_family_ends_in_order_with_its_terminal(
    options: Callable[[Pty], dict[str, object]], terminal: Pty, start: Start, url: str, folder: Folder
) -> None:
    program = serve_on(terminal, start, url, **options(terminal))
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(2)))
    folder.until("begin", 0)

    terminal.close()
    program.hear("stopping signal=SIGHUP workers=1")
    folder.permit(1)

    assert program.end() == Exit.OK
    assert folder.done() == [0]
    assert left_in(url) == 1
    assert "trying the new code" not in program.heard
    with client(url) as queue:
        assert dead_letters(queue) == []


def test_a_hang_up_by_hand_is_enough_where_standard_input_went_away(
    terminal: Pty, start: Start, url: str, name: str
) -> None:
    """It leads no session of that terminal, so the system tells it nothing."""
    program = serve_on(terminal, start, url, preexec_fn=None)
    terminal.close()

    assert program.stop(signal.SIGHUP) == Exit.OK
    assert files_of(name) == set()


def test_what_writes_to_a_terminal_that_went_away_ends_well(
    terminal: Pty, start: Start, url: str, name: str, folder: Folder
) -> None:
    leave_in_segment(name, Gated, folder.notes(range(2)))
    # Standard error is the terminal, too: what the supervisor says is not to be heard.
    program: Supervise = start(
        JOBS,
        *("--url", url, "--workers", 1, "--drain"),
        process_group=None,
        start_new_session=True,
        preexec_fn=lambda: (terminal.take(), os.dup2(terminal.theirs, 2)),
        stdin=terminal.theirs,
        stdout=terminal.theirs,
    )
    folder.until("begin", 0)

    terminal.close()
    folder.permit(2)

    assert program.end() == Exit.OK
    assert folder.done()[0] == 0


def test_a_hang_up_with_the_terminal_in_its_place_brings_new_code(terminal: Pty, start: Start, url: str) -> None:
    program = serve_on(terminal, start, url)
    first = program.workers(1)

    program.signal(signal.SIGHUP)
    program.hear("reloaded workers=1")
    program.hear_times("replacing worker", 1)
    terminal.close()  # what it was started from is not forgotten

    program.hear("stopping signal=SIGHUP")
    assert program.end() == Exit.OK
    assert first


def test_a_family_whose_new_code_does_not_import_ends_with_its_terminal(
    terminal: Pty, start: Start, url: str, name: str, folder: Folder
) -> None:
    module, environment = written(FICKLE, name, folder)
    program = serve_on(terminal, start, url, module=module, environment=environment)
    program.workers(1)
    program.signal(signal.SIGHUP)
    program.hear("does not import any more, trying again")

    terminal.close()

    assert program.end() == Exit.BOOT
    assert files_of(name) == set()


def test_who_asked_to_outlive_the_terminal_does(terminal: Pty, start: Start, url: str, folder: Folder) -> None:
    program = serve_on(terminal, start, url, stdin=subprocess.DEVNULL, preexec_fn=terminal.take_and_ignore_its_end)

    terminal.close()

    program.hear("reloaded workers=1")
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([0]))
        folder.until("done", 0)
    assert program.stop() == Exit.OK


def test_without_a_terminal_a_hang_up_brings_new_code(start: Start, url: str, tmp_path: Path) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, start_new_session=True, process_group=None).serving()
    program.signal(signal.SIGHUP)
    program.hear("reloaded workers=1")
    assert program.stop() == Exit.OK
