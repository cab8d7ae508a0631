"""Producers and consumers under SIGKILL and SIGSTOP for a while; what they noted must fit the promises."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from shardq.drivers.shared.engine import VARIABLE
from shardq.protocols import Storage
from tests.faults.conftest import SEED
from tests.faults.kit.history import Delivery, History, Intent, Letter, Message
from tests.faults.kit.points import Child
from tests.faults.kit.scene import MIB, run_waiting
from tests.faults.kit.stages import NewStage, Stage, segment, server
from tests.faults.kit.storm import GRAVE, PIPES, SHARED, consume, deferred_by, produce

SECONDS = float(os.environ.get("SHARDQ_FAULTS_SECONDS", "2"))
PRODUCERS = CONSUMERS = 3
JOBS = {"produce": produce, "consume": consume}
#: What does the frequent case in a process: C where the extension is there, or Python.
ENGINES = ("", "python")
#: Room for all that is buried in a storm, and scarce for what is not.
CAPACITY_BYTES = MIB * (1 + int(SECONDS) // 15)
#: Between two blows, and how long one that was stopped stays so; seconds.
CALM_S, STOPPED_S = (0.001, 0.02), (0.001, 0.1)
TO_KILL = 0.6
#: What a killed producer or consumer delays the others by.
NET_S = 0.1


class Crew:
    """The processes at work. The test replaces each one that dies."""

    def __init__(self, there: Stage, history: History) -> None:
        self.there = there
        self._history = history
        self._born = 0
        self.kills = self.stops = 0
        self.killed: set[str] = set()
        """Names of those that were killed."""
        self.children: list[tuple[str, Child, str]] = []
        self._resume: dict[int, float] = {}
        for role in ["produce"] * PRODUCERS + ["consume"] * CONSUMERS:
            self.hire(role)

    def hire(self, role: str) -> None:
        self._born += 1
        who, random = f"{role[0]}{self._born}", Random(f"{SEED} {self._born}")
        storage, history, engine = self.there.storage, self._history, random.choice(ENGINES)

        def work() -> None:
            # It attaches by itself, at its first verb. So processes of both kinds share the segment.
            os.environ[VARIABLE] = engine
            asyncio.run(JOBS[role](storage, history, who, random))

        self.children.append((role, Child(work), who))

    def strike(self, random: Random) -> None:
        """Kill one and hire another in its place, or stop one for a while."""
        index = random.randrange(len(self.children))
        role, child, who = self.children[index]
        if random.random() < TO_KILL:
            del self.children[index]
            self._resume.pop(child.pid, None)
            child.kill()
            self.killed.add(who)
            self.there.note_death(child.pid)
            self.kills += 1
            self.hire(role)
        elif child.pid not in self._resume:
            os.kill(child.pid, signal.SIGSTOP)
            self._resume[child.pid] = time.monotonic() + random.uniform(*STOPPED_S)
            self.stops += 1

    def resume(self, *, every_process: bool = False) -> None:
        for pid, due in list(self._resume.items()):
            if every_process or time.monotonic() > due:
                os.kill(pid, signal.SIGCONT)
                del self._resume[pid]

    def dismiss(self, *roles: str) -> None:
        """Kill all of these. Raises `ChildFailed` where one had failed by itself."""
        leaving = [child for role, child, _ in self.children if role in roles]
        self.children = [(role, child, who) for role, child, who in self.children if role not in roles]
        for child in leaving:
            os.kill(child.pid, signal.SIGKILL)
        with ExitStack() as ending:  # also where one of them failed
            for child in leaving:
                ending.callback(self.there.note_death, child.pid)
                ending.callback(child.end)


@pytest.fixture(params=[segment, server], ids=["segment", "server"])
def crew(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Crew]:
    stage: NewStage = request.param
    with stage(CAPACITY_BYTES) as there:
        there.storage.settings.safety_net = NET_S
        crew = Crew(there, History(tmp_path))
        try:
            yield crew
        finally:
            crew.dismiss("produce", "consume")


@pytest.mark.timeout(SECONDS + 120)
def test_nothing_is_lost_torn_or_reordered_in_a_storm(
    crew: Crew, random: Random, tmp_path: Path, tried: Callable[[str, int], None]
) -> None:
    storm(crew, random)
    there = crew.there
    assert run_waiting(lambda: there.storage.wait_for_quiet(60, deferred=True)), "what is left is not handled"
    crew.dismiss("consume")
    tried("storm kills", crew.kills)
    tried("storm stops", crew.stops)
    there.check_whole()
    letters = [Letter.parsed(letter) for letter in run_waiting(lambda: there.storage.range(GRAVE, 1 << 30)).messages]
    check_history(History(tmp_path), letters, crew.killed, tried, numbers_follow=there.numbers_follow)
    run_waiting(lambda: check_no_ghosts(there.storage, History(tmp_path)))
    there.check_usable()


def storm(crew: Crew, random: Random) -> None:
    """Strike at random for a while; then let the consumers finish in peace."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        crew.resume()
        crew.strike(random)
        time.sleep(random.uniform(*CALM_S))
    crew.resume(every_process=True)
    crew.dismiss("produce")


async def check_no_ghosts(storage: Storage, history: History) -> None:
    """All is handled, so each message can be added again, once."""
    for pipe in PIPES:
        deliveries = (event.message for event in history.events(pipe) if isinstance(event, Delivery))
        some = list({message.encoded() for message in deliveries})[:500]
        assert await storage.append([(pipe, some)], absent=True) == len(some), f"{pipe}: ghosts"
        assert await storage.append([(pipe, some)], absent=True) == 0
        assert await storage.remove(pipe, *some) == len(some)


def check_history(
    history: History,
    letters: list[Letter],
    killed: set[str],
    tried: Callable[[str, int], None],
    *,
    numbers_follow: bool,
) -> None:
    known: dict[str, set[Message]] = {}
    for pipe in PIPES:
        events = list(history.events(pipe))
        deliveries = [event for event in events if isinstance(event, Delivery)]
        known[pipe] = {delivery.message for delivery in deliveries}
        check_order(pipe, deliveries, numbers_follow=numbers_follow)
        check_due_order(pipe, deliveries)
        check_whole_batches(pipe, known[pipe])
        check_again(pipe, events, killed)
        check_fates(pipe, events, [letter.sequence for letter in letters if letter.pipe == pipe])
    lost = [(pipe, first) for pipe, first in history.accepted() if first not in known[pipe]]
    assert not lost, f"{len(lost)} accepted batches were never handled: {lost[:5]}"
    tried("storm messages", sum(map(len, known.values())))
    tried("storm letters", len(letters))


def check_order(pipe: str, deliveries: list[Delivery], *, numbers_follow: bool = True) -> None:
    """First deliveries come in order of their numbers, and a producer's messages in the order it gave them."""
    latest = -1
    seen: dict[int, Message] = {}
    last: dict[str, tuple[int, int]] = {}
    for sequence, message, _ in deliveries:
        if sequence in seen:
            assert seen[sequence] == message, f"{pipe}: number {sequence} was {seen[sequence]}, then {message}"
            continue
        in_order = sequence == latest + 1 if numbers_follow else sequence > latest
        assert in_order, f"{pipe}: number {sequence} came after {latest}"
        seen[sequence], latest = message, sequence
        place = message.batch, message.position
        if message.who == SHARED:
            continue
        assert last.get(message.who, (-1, -1)) < place, f"{pipe}: {message} after {last[message.who]}"
        last[message.who] = place


def check_due_order(pipe: str, deliveries: list[Delivery]) -> None:
    """Of what one producer deferred, the earlier accepted comes before what is due no earlier."""
    first: dict[str, dict[tuple[int, int], None]] = {}
    for _, message, _ in deliveries:
        who, _, due_us = message.who.partition("@")
        if due_us:
            first.setdefault(who, {}).setdefault((message.batch, int(due_us)))
    for who, batches in first.items():
        came = list(batches)
        for n, (batch, due_us) in enumerate(came):
            late = [other for other in came[n + 1 :] if other[0] < batch and other[1] <= due_us]
            assert not late, f"{pipe}: of {who}, {late} came after {batch}, due at {due_us}"


def check_whole_batches(pipe: str, messages: set[Message]) -> None:
    """Of one append all messages are there or none."""
    for who, batch, _, size in messages:
        missing = [n for n in range(size) if Message(who, batch, n, size) not in messages]
        assert not missing, f"{pipe}: batch {batch} of {who} lacks {missing}"


def check_again(pipe: str, events: list[Delivery | Intent], killed: set[str]) -> None:
    """What is handed out again had failed, or was in the hands of who was killed."""
    last: dict[int, Delivery | Intent] = {}
    for event in events:
        former = last.get(event.sequence)
        if former and isinstance(event, Delivery):
            failed = isinstance(former, Intent) and former.fate == "failed"
            assert failed or former.by in killed, f"{pipe}: {event} after {former}, who lived on"
        last[event.sequence] = event


def check_fates(pipe: str, events: list[Delivery | Intent], letters: list[int]) -> None:
    """In the end each message is either done or a letter, and what is a letter is so once."""
    fates = {event.sequence: event.fate if isinstance(event, Intent) else None for event in events}
    buried = sorted(sequence for sequence, fate in fates.items() if fate == "buried")
    assert sorted(letters) == buried, f"{pipe}: buried were {buried}, the grave has {sorted(letters)}"
    lost = [sequence for sequence, fate in fates.items() if fate not in ("done", "buried")]
    assert not lost, f"{pipe}: {lost[:9]} left, and no process said so"


def delivered(*places: tuple[int, int]) -> list[Delivery]:
    """Deliveries of one producer's batches of two: number and place in the producer's own order."""
    return [Delivery(number, Message("p1", place // 2, place % 2, 2)) for number, place in places]


@pytest.mark.parametrize(
    ("places", "holds"),
    [
        ([(0, 50), (1, 60), (2, 60)], True),
        ([(1, 50), (0, 60)], True),
        ([(2, 60), (1, 60)], False),
        ([(1, 70), (0, 60)], False),
    ],
    ids=["good", "due-later", "equal-times-swapped", "due-earlier"],
)
def test_checker_tells_a_good_order_of_times_from_a_bad_one(places: list[tuple[int, int]], holds: bool) -> None:
    came = [Delivery(n, Message(deferred_by("p1", due), batch, 0, 1)) for n, (batch, due) in enumerate(places)]
    if holds:
        check_due_order("pipe", came)
    else:
        with pytest.raises(AssertionError):
            check_due_order("pipe", came)


@pytest.mark.parametrize(
    ("deliveries", "holds"),
    [
        (delivered((0, 0), (1, 1), (2, 2), (3, 3)), True),
        (delivered((0, 0), (1, 1), (0, 0), (1, 1), (2, 2), (3, 3)), True),
        (delivered((1, 1), (0, 0)), False),
        (delivered((0, 0), (2, 2)), False),
        (delivered((0, 2), (1, 3), (2, 0), (3, 1)), False),
        (delivered((0, 0), (1, 1), (1, 2)), False),
        (delivered((0, 0)), False),
    ],
    ids=["good", "again", "swapped", "gap", "batches-swapped", "number-twice", "torn"],
)
def test_checker_tells_a_good_history_from_a_bad_one(deliveries: list[Delivery], holds: bool) -> None:
    def check() -> None:
        check_order("pipe", deliveries)
        check_whole_batches("pipe", {delivery.message for delivery in deliveries})

    if holds:
        check()
    else:
        with pytest.raises(AssertionError):
            check()


ONE = Message("p1", 0, 0, 1)


@pytest.mark.parametrize(
    ("events", "letters", "holds"),
    [
        ([Delivery(0, ONE, "c1"), Intent(0, "done", "c1")], [], True),
        ([Delivery(0, ONE, "killed"), Delivery(0, ONE, "c2"), Intent(0, "done", "c2")], [], True),
        ([Delivery(0, ONE, "killed"), Intent(0, "done", "killed"), Delivery(0, ONE, "c2")], [], False),
        ([Delivery(0, ONE, "c1"), Delivery(0, ONE, "c2"), Intent(0, "done", "c2")], [], False),
        ([Delivery(0, ONE, "c1"), Intent(0, "done", "c1"), Delivery(0, ONE, "c1"), Intent(0, "done", "c1")], [], False),
        ([Delivery(0, ONE, "c1"), Intent(0, "failed", "c1"), Intent(0, "buried", "c1")], [0], True),
        ([Delivery(0, ONE, "c1"), Intent(0, "failed", "c1"), Intent(0, "buried", "c1")], [], False),
        ([Delivery(0, ONE, "c1"), Intent(0, "failed", "c1"), Intent(0, "buried", "c1")], [0, 0], False),
        ([Delivery(0, ONE, "c1"), Intent(0, "done", "c1")], [0], False),
        ([Delivery(0, ONE, "c1"), Intent(0, "failed", "c1")], [], False),
    ],
    ids=[
        "done",
        "again-after-a-death",
        "not-done",
        "again-beside-the-living",
        "again-after-it-was-done",
        "buried",
        "letter-lost",
        "letter-twice",
        "letter-of-what-is-done",
        "failed-and-gone",
    ],
)
def test_checker_tells_good_fates_from_bad_ones(
    events: list[Delivery | Intent], letters: list[int], holds: bool
) -> None:
    def check() -> None:
        check_again("pipe", events, {"killed"})
        check_fates("pipe", events, letters)

    if holds:
        check()
    else:
        with pytest.raises(AssertionError):
            check()
