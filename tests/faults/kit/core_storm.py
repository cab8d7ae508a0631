"""Producers, workers and a supervisor under SIGKILL over one segment, in C and in Python beside each other.

    python -m tests.faults.kit.core_storm KILLS SEED

prints after each round what was done by then, and in the end the sum. Here is only what the core in C does: calls over
several threads, turns and rests. All else stands in `test_storm`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from shardq.drivers.shared.engine import VARIABLE
from shardq.drivers.shared.storage import SharedStorage
from shardq.drivers.shared.supervised import SupervisedSegment
from shardq.model import Hand, Terms
from shardq.shm import words as at
from shardq.shm.store import Store
from tests.faults.kit.core_history import Log, Message, Storm, facts_in
from tests.faults.kit.points import Child
from tests.faults.kit.scene import MIB, Scene, check_usable, check_whole, run_waiting, scene
from tests.support.leaks import begin_run, end_run

#: Roles at work at one time, and what does the frequent case in them.
ROLES = ("produce", "produce", "work", "work", "work", "supervise")
ENGINES = ("c", "python")
PIPES = [f"app/Job/{thread}/0" for thread in range(6)]
NAMES, TERMS = frozenset(["app/Job"]), {"app/Job": Terms((0,), 64)}
#: Kills of a round, after which all that was said is looked at.
ROUND = 500
#: A process is killed after less than so many attempts to enter the guard, or when it is so old in seconds, because it
#: sleeps; one in some at once, wherever it is. How often it is looked whether one may be.
MOST_ATTEMPTS, OLD_S, TO_KILL_AT_ONCE, GLANCE_S = 30, 0.3, 0.03, 0.001
#: What a killed producer delays the others by, and how often a supervisor looks; seconds.
NET_S, LOOK_S = 0.1, 0.002
#: A producer waits while so many messages are queued: what comes while memory is scarce is not the frequent case.
MOST_QUEUED = 2000
#: So many that were killed may be dying while others are hired and killed.
MOST_DYING = 4
#: After how long a round counts as wedged, seconds.
WEDGED_S = 60


async def produce(storage: SharedStorage, log: Log, who: str, random: Random) -> None:
    """Calls over several tubes, for ever."""
    number, places = 0, dict.fromkeys(PIPES, 0)
    while True:
        pipes, parts = random.sample(PIPES, random.randint(1, len(PIPES))), []
        for pipe in pipes:
            messages = [Message(who, number, len(pipes), places[pipe] + n) for n in range(random.choice((1, 1, 2, 8)))]
            places[pipe] += len(messages)
            # Of any length: the text ends where blanks begin.
            parts.append((pipe, [message.encoded().ljust(30 + number % 700) for message in messages]))
        if await storage.append(parts) is None:
            await storage.append_when_room(parts)
        log.say(b"accepted", b"%d" % number)
        number += 1
        if queued(storage.store) > MOST_QUEUED:
            await asyncio.sleep(LOOK_S)


async def work(storage: SharedStorage, log: Log, who: str, random: Random) -> None:
    """Turns, and a rest where there is nothing, for ever."""
    hand: Hand | None = None
    while True:
        before, stay = hand, random.random() < 0.8
        if hand and hand.batch.count:
            hand = await storage.turn(hand, NAMES, TERMS, stay=stay)
        else:
            hand = await storage.rest(hand, NAMES, TERMS, 1.0, stay=stay)
        if before and before.batch.count:
            log.say(b"done", before.batch.pipe.encode(), b"%d" % before.batch.through)
        if hand and hand.batch.count:
            log.say(b"given", hand.batch.pipe.encode(), b"%d" % hand.batch.sequence, *hand.batch.messages)


async def supervise(storage: SharedStorage, log: Log, who: str, random: Random) -> None:
    """What a supervisor does to a segment without being told: it takes its place, and looks after all."""
    segment, supervises = SupervisedSegment(storage), False
    while True:
        supervises = supervises or segment.become_supervisor()  # not yet while the one before is dying
        if supervises:
            segment.promote()
            segment.wake_workers()
            segment.idle()
        await asyncio.sleep(LOOK_S)


JOBS = {"produce": produce, "work": work, "supervise": supervise}


@dataclass(eq=False)
class Member:
    """A process at work."""

    who: str
    role: str
    engine: str
    child: Child
    attempts: int
    """How often it goes for the guard before it may be killed."""
    born_s: float
    slot: int = 0
    """The first word of its slot. 0: it was not seen attached yet."""


class Crew:
    """The processes at work. One that is killed is replaced by one of the other engine, also while it is dying."""

    def __init__(self, there: Scene, folder: Path, random: Random) -> None:
        self._there = there
        self._folder = folder
        self._random = random
        self._born = 0
        self._dying: list[Member] = []
        self.killed: set[str] = set()
        """Names of those that were killed."""
        self.done: Counter[str] = Counter()
        self._members = [self._hired(role, random.choice(ENGINES)) for role in ROLES]

    def strike(self) -> None:
        """Kill one, wherever it is, and hire another."""
        victim = self._victim()
        self._members.remove(victim)
        self._kill(victim)
        self._bury(but=MOST_DYING)
        self._members.append(self._hired(victim.role, ENGINES[victim.engine == ENGINES[0]]))

    def _victim(self) -> Member:
        """One that has done something, as a rule: what was not attached yet has nothing to leave behind."""
        if self._random.random() < TO_KILL_AT_ONCE:
            return self._random.choice(self._members)
        while not (ready := [member for member in self._members if self._may_be_killed(member)]):
            time.sleep(GLANCE_S)
        return self._random.choice(ready)

    def _may_be_killed(self, member: Member) -> bool:
        words = self._there.store.segment.words
        if not member.slot and find_slot(self._there.store, member):
            member.attempts += words[member.slot + at.SLOT_ATTEMPT] >> 16
        done = member.slot and words[member.slot + at.SLOT_ATTEMPT] >> 16 >= member.attempts
        return bool(done) or time.monotonic() - member.born_s > OLD_S

    def dismiss(self, *roles: str) -> None:
        for member in [each for each in self._members if each.role in roles]:
            self._kill(member)
            self._members.remove(member)
        self._bury(but=0)

    def _kill(self, member: Member) -> None:
        os.kill(member.child.pid, signal.SIGKILL)
        self.killed.add(member.who)
        self._dying.append(member)

    def _bury(self, but: int) -> None:
        """Wait until all but so many are gone, and note where they died. Raises `ChildFailed` where one had failed."""
        while self._dying:
            if len(self._dying) <= but and not self._dying[0].child.ended():
                return
            member = self._dying.pop(0)
            member.child.end()
            self.done.update(where_it_died(self._there.store, member))

    def _hired(self, role: str, engine: str) -> Member:
        who = f"{role[0]}{self._born}.{engine}"
        self._born += 1
        random, storage, folder = Random(f"{self._random.random()}"), self._there.storage, self._folder

        def act() -> None:
            os.environ[VARIABLE] = engine  # it attaches by itself, at its first verb
            asyncio.run(JOBS[role](storage, Log(folder, who), who, random))

        return Member(who, role, engine, Child(act), self._random.randrange(MOST_ATTEMPTS), time.monotonic())


def find_slot(store: Store, member: Member) -> int:
    """The first word of its slot, 0 where it has none yet."""
    words, layout = store.segment.words, store.segment.layout
    slots = map(layout.slot_word, range(layout.slots))
    member.slot = next((word for word in slots if words[word + at.SLOT_PID] == member.child.pid), 0)
    return member.slot


def where_it_died(store: Store, member: Member) -> Iterator[str]:
    """What can still be seen of where a process died: less than there was, since others mend it meanwhile."""
    words, owner = store.segment.words, store.segment.words[at.GUARD_OWNER]
    yield "kills"
    if not member.slot and not find_slot(store, member):
        yield "kills before it was attached"
        return
    yield f"kills of {member.engine}"
    if owner and store.segment.layout.slot_word((owner & 0xFFFF) - 1) == member.slot:
        yield f"kills of {member.engine} inside the guard"
        if words[at.INTENT_THREAD]:
            yield f"kills of {member.engine} with a journal that stood"
    elif words[member.slot + at.SLOT_ATTEMPT] & 0xFFFF:
        yield f"kills of {member.engine} between two steps of the guard"


def queued(store: Store) -> int:
    """How many messages are there."""
    words = store.segment.words
    return max(0, words[at.ACCEPTED] - words[at.HANDLED])


def storm(kills: int, seed: str, told: Callable[[Counter[str]], object] = lambda _: None) -> Counter[str]:
    """Kill so many processes, in rounds, and check each round. `told` gets what was done after each of them."""
    random, done, begins = Random(seed), Counter[str](), dict.fromkeys(PIPES, 0)
    with scene(4 * MIB, threads=64) as there:
        there.storage.settings.safety_net = NET_S
        while done["kills"] < kills:
            with TemporaryDirectory(prefix="storm-") as name:
                folder = Path(name)
                crew = _round(there, folder, random, min(ROUND, kills - done["kills"]))
                # In a process that ends: with all that it reads in memory, each further fork here would take longer.
                begins, messages = Child(partial(_checked, folder, crew.killed, begins)).result()
            done += crew.done + Counter(messages=messages, rounds=1)
            told(done)
        check_usable(there)
    return done


def _checked(folder: Path, killed: set[str], begins: dict[str, int]) -> tuple[dict[str, int], int]:
    """The first numbers of the tubes in the next round, and how many messages came in this one. Raises `AssertionError`
    where what was said cannot be.
    """
    storm = Storm(list(facts_in(folder)), killed, begins)
    return storm.check(), storm.messages


def _round(there: Scene, folder: Path, random: Random, kills: int) -> Crew:
    crew = Crew(there, folder, random)
    try:
        for _ in range(kills):
            crew.strike()
        crew.dismiss("produce")
        assert run_waiting(lambda: there.storage.wait_for_quiet(WEDGED_S)), "what is left is not handled"
    finally:
        crew.dismiss(*JOBS)
    check_whole(there.store)
    return crew


def main() -> None:
    began = time.monotonic()

    def tell(done: Counter[str]) -> None:
        print(f"{time.monotonic() - began:.0f} s", dict(done), flush=True)

    begin_run()
    gc.freeze()  # a collection in a child would copy all that was imported here
    try:
        storm(int(sys.argv[1]), sys.argv[2], tell)
    finally:
        end_run()


if __name__ == "__main__":
    main()
