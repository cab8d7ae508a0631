"""Sleepers, and processes that bind a thread for the first time, in any order: none may go unwatched."""

from __future__ import annotations

from shardq.shm.processes.death_watch import DeathWatch
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from tests.faults.explorer.bell import Bells, bare_store
from tests.faults.explorer.worlds import Plan, Process, Violation, World
from tests.faults.kit.scene import no_handlers


class _Watch(DeathWatch):
    """Watches slots of the world instead of processes."""

    def __init__(self, segment: Segment, slots: Slots) -> None:
        super().__init__(segment, slots)
        self.slots: set[int] = set()
        self.open()

    def _add(self, owner: int, slot: int) -> None:
        self.slots.add(slot)


def watchmen(segment: Segment, sleepers: int, newcomers: int, plan: Plan) -> World:
    """Processes that sleep, and others that each bind a thread. Raises `Violation` where one who sleeps in the end does
    not watch all who are bound, and was not rung to look again.
    """
    world, bells = World(plan), Bells(newcomers)
    watches: list[_Watch] = []
    for _ in range(sleepers):
        world.add(lambda process: _sleep(segment, bells, process, watches))
    for _ in range(newcomers):
        world.add(lambda process: _bind(segment, bells, process))
    try:
        world.run()
    finally:
        for watch in watches:
            watch.close()
    bound = set(range(sleepers, sleepers + newcomers))
    for watch in watches:
        if not bound <= watch.slots:
            raise Violation(f"{sorted(bound - watch.slots)} may die unseen")
    return world


def _sleep(segment: Segment, bells: Bells, process: Process, watches: list[_Watch]) -> None:
    store = bare_store(segment, bells, process)
    watch = _Watch(segment, store._slots)
    store.waiting._watch = watch
    while True:
        store.waiting.lie_down(no_handlers, None)
        while process.number not in bells.rung:
            if not bells.left:
                watches.append(watch)
                return
            process.nap()
        bells.rung.discard(process.number)
        store.waiting.rise(None)
        process.world.progress()


def _bind(segment: Segment, bells: Bells, process: Process) -> None:
    store = bare_store(segment, bells, process)
    if not store.delivering.claim(f"app/Job/{process.number}"):
        raise Violation("a free thread was refused")
    bells.left -= 1
    process.world.progress()
