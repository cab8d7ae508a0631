"""The proofs of the journal, of the repair and of the guard are worth something: where one of these has a piece
missing, or two in the wrong order, the smallest proof that can tell it fails.

Each mutant is tried in a process of its own. A run tries a sample of them. `SHARDQ_FAULTS=all` tries all, so
`SHARDQ_FAULTS=all scripts/test tests/faults/test_mutants.py -k redo` tries a certain one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import NamedTuple

import pytest

from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.memory.reserve import Reserve
from shardq.shm.processes.guard import Guard
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import Directory
from shardq.shm.verbs.recovery import Recovery
from tests.faults import test_exception_points, test_kill_points, test_kill_repairer, test_stop_points
from tests.faults.explorer.guard import contest, guard_module
from tests.faults.explorer.worlds import Plan, Violation, World, random_plans, run_sample
from tests.faults.kit.mutants import is_in_the_source, spoil
from tests.faults.kit.operations import operation_named
from tests.faults.kit.outcome import recorded
from tests.faults.kit.points import steps_at, steps_in
from tests.faults.kit.trial import ProblemsAfter, problems_at, staged
from tests.support.chance import sample_of_run
from tests.support.lean import LeanProcess

#: Mutants that a sampled run tries, and those of the guard that only an order of events shows.
SAMPLE, SAMPLE_OF_GUARDS = 4, 4
#: Tries in which a spoilt guard has to be caught. Most are caught within hundreds.
CATCH = 40_000

#: Yields what is wrong, one after the other.
Proof = Callable[[], Iterator[str]]


def proof_by(problems_after: ProblemsAfter, name: str, owner: type, *methods: str) -> Proof:
    """An operation is cut off at each step in these methods."""

    def problems() -> Iterator[str]:
        operation = operation_named(name)
        return problems_at(operation, steps_in(recorded(operation), owner, *methods), problems_after)

    return problems


def repairer_dies(name: str, text: str, owner: type, *methods: str) -> Proof:
    """A process dies before this line of its first commit, and the repairer at each step in these methods."""

    def problems() -> Iterator[str]:
        operation = operation_named(name)
        with staged(operation) as stage:
            first = steps_at(text, recorded(operation), Journal, "commit")[0]
            for then in steps_in(test_kill_repairer.recorded_mending(stage, first), owner, *methods):
                yield from (f"{then}: {said}" for said in test_kill_repairer.problems_after(stage, first, then))

    return problems


dies = partial(proof_by, test_kill_points.problems_after)
is_stopped = partial(proof_by, test_stop_points.problems_after)
is_thrown_out = partial(proof_by, test_exception_points.problems_of_others)


class Mutant(NamedTuple):
    """A method with a part replaced, and the proof that fails of it."""

    name: str
    owner: type
    method: str
    old: str
    new: str
    proof: Proof
    shows: str
    """What the proof says, among others."""

    def __str__(self) -> str:
        return self.name


WRITE = (
    "        for place, value in stores:\n"
    "            words[entry] = place\n"
    "            words[entry + 1] = value\n"
    "            entry += 2\n"
)
COUNT = "        words[at.STORES] = len(stores)\n"
APPLY = "        for place, value in stores:\n            words[place] = value\n"
CLEAR = "        words[at.STORES] = 0\n"
REDO = (
    "        for entry in range(self._stores, self._stores + 2 * count, 2):\n"
    "            if words[entry] < at.ACCEPTED:\n"
    '                raise damaged(self._name, f"nothing is stored in word {words[entry]}")\n'
    "            words[words[entry]] = words[entry + 1]\n"
)
FORGET_TUBE = "        words[at.INTENT_TUBE] = 0\n        words[at.TOUCHED] = 0\n"
FORGET_THREAD = "        # Last: while it stands, the others count.\n        words[at.INTENT_THREAD] = 0\n"
FORGET_ALL = "        self._equals.forget()\n        self._journal.clear_pending()\n        self._journal.clear()\n"
MEND_THREADS = (
    "        for thread in self._journal.threads:\n"
    "            if self._directory.linked(thread):\n"
    "                self._mend_thread(thread)\n"
    "            else:\n"
    "                self._directory.free_entries(thread)\n"
)
CALL, NEW_EXTENT = "append a call to two tubes", "append into a new extent"
COUNTS, APPLIES = COUNT.strip(), APPLY.splitlines()[1].strip()

MUTANTS = (
    Mutant(
        "count-before-values",
        Journal,
        "commit",
        WRITE + COUNT,
        COUNT + WRITE,
        dies(CALL, Journal, "commit"),
        "nothing is stored in word",
    ),
    Mutant(
        "applied-before-counted",
        Journal,
        "commit",
        COUNT + APPLY,
        APPLY + COUNT,
        dies(CALL, Journal, "commit"),
        "queued",
    ),
    Mutant(
        "cleared-early",
        Journal,
        "commit",
        APPLY + CLEAR,
        CLEAR + APPLY,
        dies(CALL, Journal, "commit"),
        "queued",
    ),
    Mutant(
        "redo-clears-first",
        Journal,
        "redo",
        REDO + CLEAR,
        CLEAR + REDO,
        repairer_dies(CALL, APPLIES, Journal, "redo"),
        "queued",
    ),
    Mutant(
        "intent-cleared-before-what-it-makes-count",
        Journal,
        "clear",
        FORGET_TUBE + FORGET_THREAD,
        FORGET_THREAD + FORGET_TUBE,
        dies(CALL, Journal, "clear"),
        "intents on other threads",
    ),
    Mutant(
        "no-sweep",
        Recovery,
        "_mend_thread",
        "            self._fifos.chains.sweep(tube)\n",
        "",
        dies(NEW_EXTENT, Journal, "commit"),
        "lent True, used by -1",
    ),
    Mutant(
        "intent-cleared-before-the-repair",
        Recovery,
        "mend",
        MEND_THREADS + FORGET_ALL,
        "        threads = self._journal.threads\n"
        + FORGET_ALL
        + MEND_THREADS.replace("self._journal.threads", "threads"),
        repairer_dies(NEW_EXTENT, COUNTS, Recovery, "_mend_thread"),
        "lent True, used by -1",
    ),
    Mutant(
        "reserve-not-mended",
        Recovery,
        "mend",
        "        self._reserve.mend()\n",
        "",
        dies("append what makes the reserve larger", Reserve, "_grow"),
        "memory of the reserve that is not counted",
    ),
    Mutant(
        "memory-forgotten-before-it-is-given-back",
        Extents,
        "_drop_memory",
        "self._words[self._backed + extent] = _PUNCHED\n",
        "self._words[self._backed + extent] = 0\n",
        dies("defer a call, refused half-way", Extents, "_drop_memory"),
        "bytes of memory are lost",
    ),
    Mutant(
        "tube-not-declared",
        Directory,
        "add_tube",
        "        self._journal.declare_tube(tube)\n",
        "",
        dies("append to another priority", Directory, "add_tube"),
        "tubes in use",
    ),
    Mutant(
        "batch-of-the-dead-not-taken-back",
        Claims,
        "claim",
        "        for tube in self._directory.tubes_of(thread):\n            self._delivery.take_back(tube)\n",
        "",
        dies("find the thread of who died with one in hand after others died with several", Claims, "_bury_owner"),
        "0 failures more, not one of (1,)",
    ),
    Mutant(
        "attempt-not-withdrawn",
        Guard,
        "acquire",
        "            self._abandon()\n            # An exception may",
        "            # An exception may",
        is_thrown_out("append in place", Guard, "_try"),
        "no way into the guard",
    ),
    Mutant(
        "rescue-not-given-up",
        Guard,
        "acquire",
        "            self._slots.unlock(RESCUE_BYTE)\n            self.threads.release()\n",
        "            self.threads.release()\n",
        is_thrown_out("append behind who died in the guard", Guard, "_rescue"),
        "no way into the guard",
    ),
    Mutant(
        "living-holder-robbed",
        Guard,
        "_owner_is_dead",
        "not self._slots.alive(owner) and ",
        "",
        is_stopped("append in place", Journal, "commit"),
        "two inside the guard",
    ),
)


def test_each_mutant_lacks_something_that_is_in_the_source() -> None:
    """Also those that a sampled run does not try."""
    assert [mutant.name for mutant in MUTANTS if not is_in_the_source(mutant.owner, mutant.old)] == []
    assert [mutant.name for mutant in MUTANT_GUARDS if not is_in_the_source(Guard, mutant.old)] == []


@pytest.mark.parametrize("mutant", sample_of_run(MUTANTS, SAMPLE), ids=str)
def test_mutant_is_caught(mutant: Mutant, tried: Callable[[str, int], None], lean: LeanProcess) -> None:
    found = lean.call(problems_of, mutant.name, spoilt=False)
    assert not found, f"the proof fails of what is good: {found}"

    found = lean.call(problems_of, mutant.name, spoilt=True)
    assert any(mutant.shows in problem for problem in found), f"it passes for good: {found}"
    tried(f"mutant {mutant}", 1)


def problems_of(name: str, *, spoilt: bool) -> list[str]:
    """In a process of its own: what is spoilt stays so. Until one problem is the expected one."""
    mutant, found = next(mutant for mutant in MUTANTS if mutant.name == name), list[str]()
    if spoilt:
        spoil(mutant.owner, mutant.method, mutant.old, mutant.new)
    for problem in mutant.proof():
        found.append(problem)
        if mutant.shows in problem:
            break
    return found


ANNOUNCE = "        self._words[self._attempt] = self._sequence << 16 | TRYING\n"
TRY = "        try:\n            self._semaphore.acquire(0)"
CLEAR_OWNER = "            self._words[at.GUARD_OWNER] = 0\n"
POST = "            self._semaphore.release()\n"
TAKE_OVER = "            self._words[at.GUARD_OWNER] = self._slots.identity\n"
SECOND_LOOK = "not self._words[at.GUARD_OWNER] and not self._semaphore.value and self._attempts() == before"


class MutantGuard(NamedTuple):
    """A guard with a part replaced, and the contest of processes that shows it in some order of events."""

    name: str
    old: str
    new: str
    processes: int = 2
    rounds: int = 1
    steps: int = 20
    preemptions: int = 2
    kills: int = 1

    def __str__(self) -> str:
        return self.name


MUTANT_GUARDS = (
    MutantGuard("no-announcement", ANNOUNCE + TRY, TRY),
    MutantGuard("live-announcers-ignored", "self._tried_by_the_living(before)", "False"),
    MutantGuard("posted-before-cleared", CLEAR_OWNER + POST, POST + CLEAR_OWNER),
    MutantGuard("never-cleared", CLEAR_OWNER + POST, POST),
    MutantGuard("owner-read-once", " and self._words[at.GUARD_OWNER] == owner", ""),
    MutantGuard("attempts-read-once", " and self._attempts() == before", "", 3, 2, 60, 4, 0),
    MutantGuard("no-second-look", f"return {SECOND_LOOK}", "return True", 3, 2, 60, 4, 1),
    MutantGuard("living-owner-robbed", "not self._slots.alive(owner) and ", ""),
    MutantGuard(
        "posted-at-take-over", TAKE_OVER + "            return True\n", TAKE_OVER + POST + "            return True\n"
    ),
    MutantGuard("many-rescuers", "if not self._slots.try_lock(RESCUE_BYTE):", "if False:", 3, 2, 90, 4, 1),
    MutantGuard("no-rescue", "            if self._rescue():\n                return\n", ""),
)


@pytest.mark.parametrize("mutant", sample_of_run(MUTANT_GUARDS, SAMPLE_OF_GUARDS), ids=str)
def test_mutant_guard_is_caught_in_some_order_of_events(mutant: MutantGuard, lean: LeanProcess) -> None:
    lean.call(catch_guard, mutant.name)


def catch_guard(name: str) -> None:
    """In a process of its own: the threads of so many contests leave a large heap."""
    mutant = next(mutant for mutant in MUTANT_GUARDS if mutant.name == name)
    module = guard_module((mutant.old, mutant.new))

    def run(plan: Plan) -> World:
        return contest(module, mutant.processes, mutant.rounds, plan)

    plans = random_plans(Random(1), CATCH, mutant.steps, mutant.preemptions, mutant.kills)
    with pytest.raises(Violation):
        run_sample(run, plans)
