"""Asking processes for their stacks: `shardq.system.stacks`."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from shardq.system import stacks
from shardq.system.stacks import ENDED, Told
from tests.faults.kit.points import Child
from tests.support.programs import until

#: A search that takes for ever, in one call of C code that keeps the interpreter.
ENDLESS = re.compile(r"(a+)+$"), "a" * 60 + "b"
Begin = Callable[[Callable[[], object]], Child]


def waits() -> None:
    threading.Event().wait()


def searches() -> None:
    ENDLESS[0].match(ENDLESS[1])


def holds_signals_back() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    searches()


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Forks a process that tells its stacks and does this."""
    children = list[Child]()

    def begin(act: Callable[[], object]) -> Child:
        begun, say = os.pipe()

        def run() -> None:
            stacks.keep()
            os.write(say, b".")
            act()

        children.append(Child(run))
        os.read(begun, 1)
        os.close(begun)
        os.close(say)
        return children[-1]

    yield begin
    for child in children:
        with suppress(ProcessLookupError):
            child.kill()


def ask(pid: int) -> Told:
    return stacks.ask([pid])[pid]


def until_in(pid: int, function: str) -> Told:
    """Ask until the process has come so far, and goes no further."""
    told = ask(pid)

    def there() -> bool:
        nonlocal told
        former, told = told, ask(pid)
        return f" in {function}\n" in told.text and told == former

    until(there, f"{pid} is in {function}")
    return told


@pytest.mark.parametrize("act", [waits, searches], ids=["waiting", "in native code"])
def test_a_process_tells_where_it_is_and_goes_on(begin: Begin, act: Callable[[], object]) -> None:
    pid = begin(act).pid
    told = until_in(pid, act.__name__)
    assert told.silent == ""
    assert "most recent call first" in told.text
    assert ask(pid) == told


def test_all_threads_are_told(begin: Begin) -> None:
    def two() -> None:
        threading.Thread(target=waits, daemon=True).start()
        inside.acquire()  # the search lets no other thread come any further
        searches()

    def waits() -> None:
        inside.release()
        threading.Event().wait()

    inside = threading.Semaphore(0)

    pid = begin(two).pid
    until_in(pid, "searches")
    assert until_in(pid, "waits").text.count("most recent call first") == 2


def test_a_name_of_other_than_utf_8_holds_no_stack_back(begin: Begin) -> None:
    """The kernel cuts the name of a thread after 15 bytes, which may be in the middle of a character."""

    def waits_under_a_name() -> None:
        Path("/proc/self/comm").write_text("fourteen bytesü")
        waits()

    child = begin(waits_under_a_name)

    assert "in waits" in until_in(child.pid, "waits").text
    assert b"\xc3\n" in Path(f"/proc/{child.pid}/comm").read_bytes()


def test_nothing_of_a_question_is_left(begin: Begin) -> None:
    pid = begin(waits).pid
    before = len(os.listdir("/proc/self/fd"))
    until_in(pid, "waits")
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.stat(stacks._file_of(pid)).st_size == 0


def test_several_ask_at_once(begin: Begin) -> None:
    pid = begin(waits).pid
    told = until_in(pid, "waits")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, [pid] * 40)) == {told}


def test_several_are_asked_at_once(begin: Begin) -> None:
    pids = [begin(act).pid for act in (waits, searches, holds_signals_back)]
    until(lambda: stacks._holding_back(pids[-1]) != frozenset(), "it holds signals back")
    told = stacks.ask(pids)
    assert list(map(bool, (told[pid].text for pid in pids))) == [True, True, False]


def test_one_that_is_stopped_is_not_sent_the_signal(begin: Begin) -> None:
    pid = begin(waits).pid
    os.kill(pid, signal.SIGSTOP)
    until(lambda: stacks._state(pid) == b"T", "it is stopped")
    assert ask(pid).silent.startswith("is stopped")
    assert not stacks._is_pending(pid)
    os.kill(pid, signal.SIGCONT)
    until_in(pid, "waits")


def test_one_that_does_not_answer_is_waited_for_no_longer_than_is_said(begin: Begin) -> None:
    pid = begin(holds_signals_back).pid
    until(lambda: stacks._holding_back(pid) != frozenset(), "it holds signals back")
    assert ask(pid) == Told("", "did not tell its stack within 2 s: its code holds all signals back")


def test_one_that_another_asks_is_waited_for(begin: Begin) -> None:
    pid = begin(waits).pid
    other = stacks._Question(pid)
    other.open()
    try:
        assert other._begin()
        assert ask(pid).silent == "was not asked within 2 s: another command asks it"
    finally:
        other.close()
    until_in(pid, "waits")


def test_the_dead_tell_nothing(begin: Begin) -> None:
    child = begin(waits)
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert ask(child.pid) == ENDED, "it is a corpse"
    child.end()
    assert ask(child.pid) == ENDED


def test_who_keeps_no_file_is_sent_nothing() -> None:
    assert ask(os.getpid()).silent.startswith("tells no stack")


def test_an_application_that_listens_to_the_signal_goes_on_doing_so() -> None:
    def listens() -> None:
        signal.signal(stacks.SIGNAL, lambda *_: None)
        assert stacks.keep() == -1

    assert Child(listens).end() == 0
