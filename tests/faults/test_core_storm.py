"""Producers and workers under SIGKILL, some of them in C and some in Python: no request is lost, doubled or reordered.

Here is only what the core in C does: calls over several threads, turns and rests. All else stands in `test_storm`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from shardq.drivers.shared.engine import VARIABLE
from shardq.drivers.shared.storage import SharedStorage
from shardq.model import Hand, Terms
from tests.faults.kit.points import Child
from tests.faults.kit.scene import MIB, Scene, check_usable, check_whole, run_waiting, scene
from tests.support.engines import needs_c

SECONDS = float(os.environ.get("SHARDQ_FAULTS_SECONDS", "3"))
#: Roles at work at one time, and what does the frequent case in them; C and Python beside each other.
ROLES = ("produce", "produce", "work", "work")
ENGINES = ("c", "python")
PIPES = [f"app/Job/{thread}/0" for thread in range(6)]
NAMES, TERMS = frozenset(["app/Job"]), {"app/Job": Terms((0,), 16)}
#: Between two kills, seconds; and what a killed producer delays the others by.
CALM_S, NET_S = (0.001, 0.02), 0.1

pytestmark = needs_c


class Message(NamedTuple):
    """Of a producer's call, which went to so many tubes; and its place among those of the producer in this tube."""

    who: str
    call: int
    tubes: int
    place: int

    def encoded(self) -> bytes:
        return json.dumps(self).encode().ljust(60 + self.call % 700)


class Log:
    """What a process says of itself, line by line, in a file that outlives it."""

    def __init__(self, folder: Path, who: str) -> None:
        self._file = os.open(folder / who, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def say(self, *facts: object) -> None:
        os.write(self._file, json.dumps([time.monotonic_ns(), *facts]).encode() + b"\n")


async def produce(storage: SharedStorage, log: Log, who: str, random: Random) -> None:
    """Calls over several tubes, for ever."""
    number, places = 0, dict.fromkeys(PIPES, 0)
    while True:
        pipes, parts = random.sample(PIPES, random.randint(1, len(PIPES))), []
        for pipe in pipes:
            messages = [Message(who, number, len(pipes), places[pipe] + n) for n in range(random.choice((1, 2, 20)))]
            places[pipe] += len(messages)
            parts.append((pipe, [message.encoded() for message in messages]))
        if await storage.append(parts) is None:
            await storage.append_when_room(parts)
        log.say("accepted", number)
        number += 1


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
            log.say("done", before.batch.pipe, before.batch.through)
        if hand and hand.batch.count:
            log.say("given", hand.batch.pipe, hand.batch.sequence, list(map(json.loads, hand.batch.messages)))


JOBS = {"produce": produce, "work": work}


class Crew:
    """The processes at work. One that is killed is replaced."""

    def __init__(self, there: Scene, folder: Path, random: Random) -> None:
        self._there = there
        self._folder = folder
        self._random = random
        self._children: list[tuple[str, Child]] = []
        self.born = self.kills = 0
        for role in ROLES:
            self.hire(role)

    def hire(self, role: str) -> None:
        who, engine = f"{role}{self.born}", ENGINES[self.born % 2]
        self.born += 1
        random, storage, folder = Random(f"{self._random.random()}"), self._there.storage, self._folder

        def act() -> None:
            os.environ[VARIABLE] = engine  # it attaches by itself, at its first verb
            asyncio.run(JOBS[role](storage, Log(folder, who), who, random))

        self._children.append((role, Child(act)))

    def strike(self) -> None:
        role, child = self._children.pop(self._random.randrange(len(self._children)))
        child.kill()
        self.kills += 1
        self.hire(role)

    def dismiss(self, role: str) -> None:
        for child in [child for its, child in self._children if its == role]:
            child.kill()
        self._children = [(its, child) for its, child in self._children if its != role]


@pytest.fixture
def there() -> Iterator[Scene]:
    with scene(4 * MIB, threads=64) as made:
        made.storage.settings.safety_net = NET_S
        yield made


@pytest.mark.timeout(SECONDS + 120)
def test_nothing_is_lost_doubled_or_reordered_where_some_are_in_c_and_some_in_python(
    there: Scene, tmp_path: Path, random: Random, tried: Callable[[str, int], None]
) -> None:
    crew = Crew(there, tmp_path, random)
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            crew.strike()
            time.sleep(random.uniform(*CALM_S))
        crew.dismiss("produce")
        assert run_waiting(lambda: there.storage.wait_for_quiet(60)), "what is left is not handled"
    finally:
        for role in JOBS:
            crew.dismiss(role)
    tried("kills of mixed processes", crew.kills)
    tried("messages of mixed processes", check(tmp_path))
    check_whole(there.store)
    check_usable(there)


def check(folder: Path) -> int:
    """That what the processes said of themselves fits the promises. Returns how many messages there were."""
    facts = sorted(json.loads(line) for path in folder.iterdir() for line in path.read_text().splitlines())
    given: dict[str, dict[int, Message]] = {pipe: {} for pipe in PIPES}
    done = dict.fromkeys(PIPES, 0)
    for _, what, *its in facts:
        if what == "given":
            pipe, first, messages = its
            assert first >= done[pipe], f"{pipe}: {first} came again, and all below {done[pipe]} was done"
            for number, message in enumerate(messages, first):
                known = given[pipe].setdefault(number, Message(*message))
                assert known == Message(*message), f"{pipe}: {number} was {known}, then {message}"
        elif what == "done":
            done[its[0]] = max(done[its[0]], its[1])
    for pipe, messages in given.items():
        check_order(pipe, messages)
    accepted = {(path.name, fact[2]) for path in folder.iterdir() if "produce" in path.name for fact in said(path)}
    check_calls(given, accepted)
    return sum(map(len, given.values()))


def said(path: Path) -> Iterator[list[int]]:
    return map(json.loads, path.read_text().splitlines())


def check_order(pipe: str, messages: dict[int, Message]) -> None:
    """No number is left out, and each producer's messages come in its order, without a gap."""
    assert sorted(messages) == list(range(len(messages))), f"{pipe}: numbers are missing"
    places: dict[str, int] = defaultdict(int)
    for number in sorted(messages):
        message = messages[number]
        assert message.place == places[message.who], f"{pipe}: {message}, after {places[message.who]} of its producer"
        places[message.who] += 1


def check_calls(given: dict[str, dict[int, Message]], accepted: set[tuple[str, int]]) -> None:
    """Each call is in all of its tubes or in none, and each that was accepted is there."""
    tubes: dict[tuple[str, int], set[str]] = defaultdict(set)
    wanted: dict[tuple[str, int], int] = {}
    for pipe, messages in given.items():
        for message in messages.values():
            tubes[message.who, message.call].add(pipe)
            wanted[message.who, message.call] = message.tubes
    torn = {call: found for call, found in tubes.items() if len(found) != wanted[call]}
    assert torn == {}, "calls are in some of their tubes only"
    assert accepted - tubes.keys() == set(), "calls were accepted, and never handled"
