"""Death at a chosen line: a forked child runs an operation and kills or stops itself just before that line runs.

Which lines there are is not written down anywhere: the operation is run once under the same trace to find out.
"""

from __future__ import annotations

import inspect
import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any, NamedTuple

import shardq

PACKAGE = Path(shardq.__file__).parent
#: The files whose lines count.
SCOPE = (f"{PACKAGE / 'shm'}{os.sep}", f"{PACKAGE / 'drivers' / 'shared'}{os.sep}")

Action = Callable[[], object]
#: What a trace function is: it is called on entry of a frame and returns what is called for each line of it.
Tracer = Callable[[FrameType, str, Any], Any]


class Step(NamedTuple):
    """A moment of a run: just before a line runs for the so-manyth time."""

    file: str
    line: int
    visit: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} (visit {self.visit})"


class Line(NamedTuple):
    """A line of a run, and how often it ran."""

    file: str
    line: int
    visits: int

    def steps(self) -> Iterator[Step]:
        return (Step(self.file, self.line, visit) for visit in range(1, self.visits + 1))


class Ended(NamedTuple):
    """How a child ended."""

    reached: bool
    """Whether it got to the step at which it was to die."""
    status: int


#: After how many seconds a child counts as one that hangs: what it does takes milliseconds.
HANGS_S = 60.0


class ChildFailed(AssertionError):
    """A child raised, or ended in a way that the test did not ask for."""


class Child:
    """A forked process that runs one function; what that returns comes back through a pipe, as JSON."""

    def __init__(self, run: Action) -> None:
        self._answer, writing = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._answer)
            _run_and_exit(run, writing)
        os.close(writing)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.end()

    def stopped(self) -> bool:
        """Wait until the child stops or ends; whether it stopped."""
        info = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return info is not None and info.si_code in (os.CLD_STOPPED, os.CLD_TRAPPED)  # the latter under a tracer

    def ended(self) -> bool:
        """Whether it has ended by now."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> int:
        """Wait for the end; the wait status. Raises `ChildFailed` where the function raised."""
        answer = self._read()
        _, status = os.waitpid(self.pid, 0)
        return _told_well(status, answer)

    def was_waited_for(self, status: int) -> Any:
        """As `result`, where the wait status is known already. None: it was killed."""
        answer = self._read()
        _told_well(status, answer)
        return json.loads(answer) if os.WIFEXITED(status) else None

    def result(self) -> Any:
        """What the function returned. Raises `ChildFailed`."""
        answer = self._read()
        _, status = os.waitpid(self.pid, 0)
        if status:
            raise ChildFailed(f"wait status {status}: {answer.decode(errors='replace')}")
        return json.loads(answer)

    def _read(self) -> bytes:
        with os.fdopen(self._answer, "rb") as answer:
            return answer.read()


def _told_well(status: int, answer: bytes) -> int:
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise ChildFailed(answer.decode(errors="replace"))
    return status


def lines_of(ready: Action, act: Action, scope: tuple[str, ...] = SCOPE) -> list[Line]:
    """Every line of `act`, in the order of the first visits, from a run in a child. `ready` runs before it, unseen."""
    return run_by(Child(lines_run(ready, act, scope)))


def run_by(child: Child) -> list[Line]:
    """The lines that a child with `lines_run` ran."""
    return [Line(*fields) for fields in child.result()]


def lines_run(ready: Action, act: Action, scope: tuple[str, ...] = SCOPE) -> Action:
    """A function for a child, that returns the lines of `act` in these files."""

    def run() -> list[Line]:
        ready()
        visits: dict[tuple[str, int], int] = {}

        def note(file: str, line: int) -> None:
            visits[file, line] = visits.get((file, line), 0) + 1

        _traced(act, note, scope)
        return [Line(*place, count) for place, count in visits.items()]

    return run


def die_at(step: Step, ready: Action, act: Action) -> Ended:
    """Run `ready`, then `act` up to the step, and SIGKILL the process there."""
    status = Child(dying_at(step, ready, act)).end()
    return Ended(os.WIFSIGNALED(status), status)


def dying_at(step: Step, ready: Action, act: Action) -> Action:
    """A function for a child, that does what `die_at` says."""
    return striking_at(step, ready, act, lambda: os.kill(os.getpid(), signal.SIGKILL))


def stopping_at(step: Step, ready: Action, act: Action) -> Action:
    """A function for a child: it stops itself at the step, and goes on when told to."""
    return striking_at(step, ready, act, lambda: os.kill(os.getpid(), signal.SIGSTOP))


def striking_at(step: Step, ready: Action, act: Action, strike: Action) -> Action:
    """A function for a child: `ready`, then `act`, and `strike` when it gets to the step."""

    def run() -> None:
        ready()
        path, left = str(PACKAGE / step.file), step.visit

        def enter(frame: FrameType, event: str, argument: object) -> Tracer | None:
            code = frame.f_code
            return within if code.co_filename == path and _has_line(code, step.line) else None

        def within(frame: FrameType, event: str, argument: object) -> Tracer:
            nonlocal left
            if event == "line" and frame.f_lineno == step.line:
                left -= 1
                if left == 0:
                    strike()
            return within

        _traced_by(enter, act)

    return run


def dying_after(lines: int, ready: Action, act: Action) -> Action:
    """A function for a child: `ready`, then `act`, killed before the so-manyth line of it."""

    def run() -> None:
        ready()
        left = lines

        def count(file: str, line: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        _traced(act, count)

    return run


def kill_children() -> int:
    """End all children that this process has left. Returns how many."""
    pids = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    for pid in map(int, pids):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(pids)


class Gate:
    """Where a child waits until the parent lets it go on, and the parent until the child is there."""

    def __init__(self) -> None:
        self._arrivals, self._arrival = os.pipe()
        self._passages, self._passage = os.pipe()

    def wait(self) -> None:
        """In the child."""
        os.close(self._passage)  # so that it also goes on when the parent is gone
        os.write(self._arrival, b"!")
        os.read(self._passages, 1)

    def reached(self) -> None:
        """In the parent: wait until the child is there. Raises `ChildFailed` where it never will be, or hangs."""
        os.close(self._arrival)
        if not select.select([self._arrivals], [], [], HANGS_S)[0]:
            raise ChildFailed(f"the child did not reach the gate within {HANGS_S} s")
        if not os.read(self._arrivals, 1):
            raise ChildFailed("the child ended before the gate")

    def open(self) -> None:
        """In the parent: let the child go on."""
        for descriptor in (self._passage, self._passages, self._arrivals):
            os.close(descriptor)


def one_of_each_line(lines: Sequence[Line], random: Random) -> list[Step]:
    """One step for each line, of its visits a random one."""
    return [Step(line.file, line.line, random.randint(1, line.visits)) for line in lines]


def lines_in(lines: Sequence[Line], owner: type, *methods: str) -> list[Line]:
    """Those of the lines that are in these methods."""
    codes: list[CodeType] = [vars(owner)[method].__code__ for method in methods]
    return [line for line in lines if any(_is_of(code, line) for code in codes)]


def steps_in(lines: Sequence[Line], owner: type, *methods: str) -> list[Step]:
    """All steps of the lines that are in these methods."""
    return [step for line in lines_in(lines, owner, *methods) for step in line.steps()]


def steps_at(text: str, lines: Sequence[Line], owner: type, method: str) -> list[Step]:
    """All steps of the one line of the method that reads like this."""
    source, first = inspect.getsourcelines(vars(owner)[method])
    places = [place for place, line in enumerate(source, first) if line.strip() == text]
    assert len(places) == 1, f"{owner.__name__}.{method} has {len(places)} lines: {text}"
    return [step for step in steps_in(lines, owner, method) if step.line == places[0]]


def sample(steps: Sequence[Step], count: int, random: Random) -> list[Step]:
    """At most `count` of the steps."""
    return list(steps) if len(steps) <= count else random.sample(steps, count)


def _is_of(code: CodeType, line: Line) -> bool:
    return code.co_filename == str(PACKAGE / line.file) and _has_line(code, line.line)


@cache
def _has_line(code: CodeType, line: int) -> bool:
    """Whether the line is one of this code: no other code has to be traced for it."""
    return any(number == line for _, _, number in code.co_lines())


@cache
def _in_package(path: str, scope: tuple[str, ...]) -> str:
    """The file by its place in the package, or nothing where its lines do not count."""
    return os.path.relpath(path, PACKAGE) if path.startswith(scope) else ""


def _traced(act: Action, on_line: Callable[[str, int], None], scope: tuple[str, ...] = SCOPE) -> None:
    def enter(frame: FrameType, event: str, argument: object) -> Tracer | None:
        return within if _in_package(frame.f_code.co_filename, scope) else None

    def within(frame: FrameType, event: str, argument: object) -> Tracer:
        if event == "line":
            on_line(_in_package(frame.f_code.co_filename, scope), frame.f_lineno)
        return within

    _traced_by(enter, act)


def _traced_by(enter: Tracer, act: Action) -> None:
    sys.settrace(enter)
    try:
        act()
    finally:
        sys.settrace(None)


def _run_and_exit(run: Action, writing: int) -> None:
    """Never returns: nothing of the test runner may run on in the child."""
    code = 70
    try:
        answer = json.dumps(run()).encode()
        code = 0
    except BaseException:
        answer = traceback.format_exc().encode()
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(answer)
    finally:
        os._exit(code)
