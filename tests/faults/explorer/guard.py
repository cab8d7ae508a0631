"""The guard's real source over a fake semaphore, fake words and fake lives, and the ways to spoil that source."""

from __future__ import annotations

import inspect
from collections import defaultdict
from types import ModuleType, SimpleNamespace
from typing import Any

import posix_ipc

from shardq.shm import words as at
from shardq.shm.processes import guard as real
from tests.faults.explorer.worlds import Plan, Process, Violation, World

SOURCE = inspect.getsource(real)
SLOT = 1000


def guard_module(*patches: tuple[str, str]) -> ModuleType:
    """The guard's module from its source, with parts replaced. Waiters do not yield, to keep runs short."""
    source = SOURCE
    for old, new in patches:
        assert source.count(old) == 1, f"the guard's source has {source.count(old)} times:\n{old}"
        source = source.replace(old, new)
    module = ModuleType("spoilt_guard" if patches else "guard")
    exec(compile(source, real.__file__, "exec"), module.__dict__)
    module.__dict__["YIELDING_S"] = 0.0
    return module


class Memory:
    """What the processes share, and which of them is inside."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.words: dict[int, int] = defaultdict(int)
        self.tokens = 1
        self.clock_s = 0.0
        self.rescuer: Process | None = None
        self.inside: Process | None = None


class _Words:
    def __init__(self, memory: Memory, process: Process) -> None:
        self._memory = memory
        self._process = process

    def __getitem__(self, word: int) -> int:
        self._process.step(f"reads {_name(word)}")
        return self._memory.words[word]

    def __setitem__(self, word: int, value: int) -> None:
        self._process.step(f"sets {_name(word)} to {value:#x}")
        self._memory.words[word] = value


class _Semaphore:
    def __init__(self, memory: Memory, process: Process) -> None:
        self._memory = memory
        self._process = process

    @property
    def value(self) -> int:
        self._process.step("looks at the tokens")
        return self._memory.tokens

    def acquire(self, timeout: float) -> None:
        self._process.step("tries for the token")
        if not self._memory.tokens:
            raise posix_ipc.BusyError
        self._memory.tokens -= 1

    def release(self) -> None:
        self._process.step("posts the token")
        self._memory.tokens += 1


class _Slots:
    """Lives as the world has them: process n has slot n in its first incarnation."""

    def __init__(self, memory: Memory, process: Process) -> None:
        self._memory = memory
        self._process = process
        self.mine = process.number
        self.identity = 1 << 16 | process.number + 1

    def word(self, slot: int) -> int:
        return SLOT + slot * at.SLOT_WORDS

    def alive(self, owner: int) -> bool:
        return self.occupied((owner & 0xFFFF) - 1)

    def occupied(self, slot: int) -> bool:
        self._process.step(f"asks whether {slot} lives")
        return self._process.world.processes[slot].alive

    def try_lock(self, byte: int) -> bool:
        self._process.step("tries to be the rescuer")
        if self._memory.rescuer and self._memory.rescuer.alive:
            return False
        self._memory.rescuer = self._process
        return True

    def unlock(self, byte: int) -> None:
        self._process.step("is the rescuer no more")
        self._memory.rescuer = None


def make_guard(module: ModuleType, memory: Memory, process: Process) -> Any:
    """A process's guard. It has no patience: after each nap it looks for a corpse."""

    def nap(duration_s: float) -> None:
        memory.clock_s += duration_s
        process.nap()

    segment: Any = SimpleNamespace(
        name="explored",
        words=_Words(memory, process),
        semaphore=_Semaphore(memory, process),
        layout=SimpleNamespace(slots=memory.slots),
    )
    slots = _Slots(memory, process)
    return module.Guard(segment, slots, patience_s=0.0, clock=lambda: memory.clock_s, nap=nap)


def contest(module: ModuleType, processes: int, rounds: int, plan: Plan) -> World:
    """Processes that enter and leave the guard, by a plan; then one that none disturbs, which must get in and leave
    exactly one token. Raises `Violation`.
    """
    world, memory = World(plan), Memory(processes + 1)
    for _ in range(processes):
        world.add(lambda process: _contend(module, memory, process, rounds))
    world.run()
    world.visit(lambda process: _contend(module, memory, process, 1))
    _check_after(memory)
    return world


def _contend(module: ModuleType, memory: Memory, process: Process, rounds: int) -> None:
    guard = make_guard(module, memory, process)
    for _ in range(rounds):
        guard.acquire()
        if memory.inside and memory.inside.alive:
            raise Violation(f"{process.number} is inside together with {memory.inside.number}")
        memory.inside = process
        process.world.progress()
        process.step("is inside")
        memory.inside = None
        guard.release()
        process.step("is outside")


def _check_after(memory: Memory) -> None:
    if memory.tokens != 1 or memory.words[at.GUARD_OWNER]:
        raise Violation(f"at rest: {memory.tokens} tokens, owner {memory.words[at.GUARD_OWNER]:#x}")


def _name(word: int) -> str:
    if word == at.GUARD_OWNER:
        return "the owner"
    return f"the attempt of {(word - SLOT) // at.SLOT_WORDS}"
