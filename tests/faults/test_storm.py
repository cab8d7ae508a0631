"""Producers and consumers under SIGKILL and SIGSTOP for a while; what they noted must fit the promises."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults.conftest import SEED
from tests.support.faults import Child
from tests.support.faults_scene import MIB, Scene, check_usable, check_whole, run_waiting, scene
from tests.support.faults_storm import PIPES, Delivery, History, Message, consume, produce

SECONDS = float(os.environ.get("SHARDQ_FAULTS_SECONDS", "5"))
PRODUCERS = CONSUMERS = 3
#: Between two blows, and how long one that was stopped stays so; seconds.
CALM_S, STOPPED_S = (0.001, 0.02), (0.001, 0.1)
TO_KILL = 0.6
#: What a killed producer or consumer delays the others by.
NET_S = 0.1


class Crew:
    """The processes at work. Whoever dies is replaced."""

    def __init__(self, there: Scene, history: History) -> None:
        self._there = there
        self._history = history
        self._born = 0
        self.kills = self.stops = 0
        self.children: list[tuple[str, Child]] = []
        self._resume: dict[int, float] = {}
        for role in ["produce"] * PRODUCERS + ["consume"] * CONSUMERS:
            self.hire(role)

    def hire(self, role: str) -> None:
        self._born += 1
        who, random = f"{role[0]}{self._born}", Random(f"{SEED} {self._born}")
        storage, history = self._there.storage, self._history

        def work() -> None:
            job = produce(storage, history, who, random) if role == "produce" else consume(storage, history, random)
            asyncio.run(job)

        self.children.append((role, Child(work)))

    def strike(self, random: Random) -> None:
        """Kill one and hire another in its place, or stop one for a while."""
        index = random.randrange(len(self.children))
        role, child = self.children[index]
        if random.random() < TO_KILL:
            del self.children[index]
            self._resume.pop(child.pid, None)
            child.kill()
            self.kills += 1
            self.hire(role)
        elif child.pid not in self._resume:
            os.kill(child.pid, signal.SIGSTOP)
            self._resume[child.pid] = time.monotonic() + random.uniform(*STOPPED_S)
            self.stops += 1

    def resume(self, *, everybody: bool = False) -> None:
        for pid, due in list(self._resume.items()):
            if everybody or time.monotonic() > due:
                os.kill(pid, signal.SIGCONT)
                del self._resume[pid]

    def dismiss(self, *roles: str) -> None:
        """Kill all of these. Raises `ChildFailed` where one had failed by itself."""
        leaving = [child for role, child in self.children if role in roles]
        self.children = [(role, child) for role, child in self.children if role not in roles]
        for child in leaving:
            child.kill()


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    with scene(MIB, threads=64) as there:
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
    there = crew._there
    assert run_waiting(lambda: there.storage.wait_for_quiet(60)), "what is left is not handled"
    crew.dismiss("consume")
    tried("storm kills", crew.kills)
    tried("storm stops", crew.stops)
    check_whole(there.store)
    check_history(History(tmp_path), tried)
    check_usable(there)


def storm(crew: Crew, random: Random) -> None:
    """Strike at random for a while; then let the consumers finish in peace."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        crew.resume()
        crew.strike(random)
        time.sleep(random.uniform(*CALM_S))
    crew.resume(everybody=True)
    crew.dismiss("produce")


def check_history(history: History, tried: Callable[[str, int], None]) -> None:
    delivered = {pipe: history.delivered(pipe) for pipe in PIPES}
    for pipe, deliveries in delivered.items():
        check_order(pipe, deliveries)
        check_whole_batches(pipe, {delivery.message for delivery in deliveries})
    known = {pipe: {delivery.message for delivery in deliveries} for pipe, deliveries in delivered.items()}
    lost = [(pipe, first) for pipe, first in history.accepted() if first not in known[pipe]]
    assert not lost, f"{len(lost)} accepted batches were never handled: {lost[:5]}"
    tried("storm messages", sum(len(messages) for messages in known.values()))


def check_order(pipe: str, deliveries: list[Delivery]) -> None:
    """First deliveries come in order of their numbers, and a producer's messages in the order it gave them."""
    seen: dict[int, Message] = {}
    last: dict[str, tuple[int, int]] = {}
    for sequence, message in deliveries:
        if sequence in seen:
            assert seen[sequence] == message, f"{pipe}: number {sequence} was {seen[sequence]}, then {message}"
            continue
        assert sequence == len(seen), f"{pipe}: number {sequence} came after {len(seen) - 1}"
        seen[sequence] = message
        place = message.batch, message.position
        assert last.get(message.who, (-1, -1)) < place, f"{pipe}: {message} after {last[message.who]}"
        last[message.who] = place


def check_whole_batches(pipe: str, messages: set[Message]) -> None:
    """Of one append all messages are there or none."""
    for who, batch, _, size in messages:
        missing = [n for n in range(size) if Message(who, batch, n, size) not in messages]
        assert not missing, f"{pipe}: batch {batch} of {who} lacks {missing}"


def delivered(*places: tuple[int, int]) -> list[Delivery]:
    """Deliveries of one producer's batches of two: number and place in the producer's own order."""
    return [Delivery(number, Message("p1", place // 2, place % 2, 2)) for number, place in places]


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
