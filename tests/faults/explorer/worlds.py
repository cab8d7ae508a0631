"""Every order of events that matters: processes as threads, of which one at a time may run.

What runs is the real code over fakes of everything that is shared. Each access to a fake is a step, and before each
step the plan may take the processor away (for a moment, or until the others are at a loss, as SIGSTOP would) or kill
the process. Between steps nothing is shared, so no other order can be told apart. A plan is small, so all of them, or
a random sample, can be tried; the same plan always gives the same run.
"""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from random import Random

#: Naps in which no process gets anywhere, after which a stopped process goes on, and after which all is lost.
AT_A_LOSS, LOST = 3, 60
LONGEST_RUN = 5_000


class Act(Enum):
    """What a plan does to the process that is about to take a step."""

    PREEMPT = "preempt"
    """Another runs until it naps or ends."""
    STOP = "stop"
    """The others run until they are at a loss."""
    STOP_AND_KILL = "stop and kill"
    """As STOP, and then it dies instead of going on."""
    KILL = "kill"


DEADLY = (Act.KILL, Act.STOP_AND_KILL)
Plan = Mapping[int, Act]


class Violation(AssertionError):
    """The property does not hold."""


class _Unwind(BaseException):
    """Ends a process's thread: it was killed, or the run is over. Its accesses have no effect any more."""


class Baton:
    """What one thread hands over and another waits for: a lock, which is a system call and no Python code."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def acquire(self) -> None:
        self._lock.acquire()

    def release(self) -> None:
        """Twice without an `acquire` between them is as once: it is so at the end of a run."""
        with suppress(RuntimeError):
            self._lock.release()


@dataclass(eq=False)
class Process:
    """One process of a world: its program runs in a thread of its own."""

    world: World
    number: int
    program: Callable[[Process], None]
    alive: bool = True
    running: bool = True
    """Whether its program still runs."""
    stopped: bool = False
    doomed: bool = False
    naps: int = 0
    baton: Baton = field(default_factory=Baton)

    def step(self, what: str) -> None:
        """About to touch something shared."""
        self.world.step(self, what)

    def nap(self) -> None:
        """Let others run."""
        self.world.nap(self)


class World:
    """Processes, and the plan they run by."""

    def __init__(self, plan: Plan) -> None:
        self.processes: list[Process] = []
        self.steps = 0
        self.trace: list[tuple[int, str, Act | None]] = []
        """Each step: which process, what it was about to do, and what the plan did to it."""
        self._plan = plan
        self._over = False
        self._problem: BaseException | None = None
        self._end = Baton()
        self._gone = threading.Semaphore(0)

    def add(self, program: Callable[[Process], None]) -> Process:
        self.processes.append(Process(self, len(self.processes), program))
        return self.processes[-1]

    def run(self) -> None:
        """Run all programs to their ends. Raises what one of them raised."""
        # Without an object of `threading` around each of them: there are some in each of thousands of worlds.
        for process in self.processes:
            _thread.start_new_thread(self._live, (process,))
        self.processes[0].baton.release()
        self._end.acquire()
        self._over = True
        for process in self.processes:
            process.baton.release()
        for _ in self.processes:
            self._gone.acquire()
        if self._problem:
            raise self._problem

    def visit(self, program: Callable[[Process], None]) -> None:
        """After the run: one more process, which no other disturbs."""
        self._over, self._plan, steps = False, {}, self.steps
        program(self.add(program))
        self.steps = steps

    def step(self, process: Process, what: str) -> None:
        if self._over or not process.alive:
            raise _Unwind
        act = self._plan.get(self.steps)
        self.trace.append((process.number, what, act))
        self.steps += 1
        if self.steps > LONGEST_RUN:
            raise Violation("it never ends")
        if act == Act.KILL:
            self._kill(process)
        if act in (Act.STOP, Act.STOP_AND_KILL):
            process.stopped, process.doomed = True, act == Act.STOP_AND_KILL
        if act:
            self._switch(process, self._next(process, away=True))

    def nap(self, process: Process) -> None:
        if self._over or not process.alive:
            raise _Unwind
        process.naps += 1
        if process.naps > LOST:
            raise Violation(f"process {process.number} waits for ever")
        self._switch(process, self._next(process))

    def progress(self) -> None:
        """A process got somewhere: none is at a loss."""
        for process in self.processes:
            process.naps = 0

    def _live(self, process: Process) -> None:
        process.baton.acquire()
        try:
            if not self._over:
                process.program(process)
        except _Unwind:
            pass
        except BaseException as problem:
            self._problem, self._over = problem, True
        process.running = False
        successor = None if self._over else self._next(process)
        (successor.baton if successor else self._end).release()
        self._gone.release()

    def _kill(self, process: Process) -> None:
        process.alive = False
        raise _Unwind

    def _switch(self, process: Process, successor: Process | None) -> None:
        """Hand over to another process, and come back when it is this one's turn."""
        if successor and successor is not process:
            successor.baton.release()
            process.baton.acquire()
        if self._over:
            raise _Unwind
        if process.doomed:
            self._kill(process)

    def _next(self, process: Process, *, away: bool = False) -> Process | None:
        """Whose turn it is after this one: round robin, the stopped only when the others are at a loss. `away`: it must
        be another's if there is one.
        """
        start = process.number + 1
        able = [other for other in (*self.processes[start:], *self.processes[:start]) if other.running and other.alive]
        if away and len(able) > 1:
            able.remove(process)
        free = [other for other in able if not other.stopped]
        if any(other.naps < AT_A_LOSS for other in free) or len(free) == len(able):
            return free[0] if free else None
        chosen = next(other for other in able if other.stopped)
        chosen.stopped = False
        return chosen


@contextmanager
def _on_one_core() -> Iterator[None]:
    """Only one process of a world runs at a time: on one core it is handed over to in half the time."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@_on_one_core()
def run_all(run: Callable[[Plan], World], preemptions: int, kills: int) -> int:
    """Run every plan within the bounds; how many there are. Raises `Violation`, with the plan."""
    waiting: list[dict[int, Act]] = [{}]
    number = 0
    while waiting:
        plan = waiting.pop()
        steps = _run(run, plan).steps
        number += 1
        acts = list(plan.values())
        for act in Act:
            if sum(a != Act.KILL for a in acts) + (act != Act.KILL) > preemptions:
                continue
            if sum(a in DEADLY for a in acts) + (act in DEADLY) > kills:
                continue
            waiting += [{**plan, step: act} for step in range(max(plan, default=-1) + 1, steps)]
    return number


@_on_one_core()
def run_sample(run: Callable[[Plan], World], plans: Iterable[Plan]) -> int:
    """Run these plans; how many they were. Raises `Violation`, with the plan."""
    number = 0
    for plan in plans:
        _run(run, plan)
        number += 1
    return number


def _run(run: Callable[[Plan], World], plan: Plan) -> World:
    try:
        return run(plan)
    except Violation as violation:
        raise Violation(f"{violation}; plan {dict(plan)}") from violation


def random_plans(random: Random, count: int, steps: int, preemptions: int, kills: int) -> Iterator[Plan]:
    """Plans by chance, within the bounds."""
    for _ in range(count):
        places = sorted(random.sample(range(steps), random.randint(1, preemptions + kills)))
        plan: dict[int, Act] = {}
        for place in places:
            acts = [Act.PREEMPT, Act.STOP] if len(plan) < preemptions + kills else []
            if sum(act in DEADLY for act in plan.values()) < kills:
                acts += DEADLY
            plan[place] = random.choice(acts or [Act.PREEMPT])
        yield plan
