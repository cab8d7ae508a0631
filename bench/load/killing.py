"""Workers that are killed one after another while they work, and what a journal says afterwards of their requests."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.harness.contestant import Figures
from bench.harness.scenario import Figure
from bench.load.jobs import NOTE, NOTE_S, THREADS, Noted

#: What each contestant of a full size does, with how many, and how many of these are killed.
REQUESTS, WORKERS, KILLS = 4_000, 2, 40

OUTCOME = (
    Figure("lost", "requests that were not done", "requests", less_is_better=True, whole=True),
    Figure("kills", "workers that were killed", "kills", whole=True),
    Figure("late", "done after a later one of their thread", "requests", less_is_better=True, whole=True),
    Figure("again", "done more than once", "requests", less_is_better=True, whole=True),
)
#: How often the journal is looked at.
_LOOK_S = 0.001
#: Of the last entries, so many say which workers are at work.
_RECENT = 32


class Journal:
    """A file to which workers append an entry for each request that they have done: its number and their pid. An entry
    is there as a whole or not at all, whenever its writer is killed.
    """

    def __init__(self, folder: str) -> None:
        self.path = str(Path(folder, "journal"))
        Path(self.path).touch()

    def requests(self, total: int) -> list[Noted]:
        """So many, to be noted here."""
        return [Noted(number, self.path) for number in range(total)]

    def __len__(self) -> int:
        return os.stat(self.path).st_size // NOTE.size

    def workers(self) -> set[int]:
        """The pids of those that made the last entries."""
        with open(self.path, "rb") as file:
            file.seek(max(0, len(self) - _RECENT) * NOTE.size)
            return {pid for _, pid in _entries(file.read())}

    def outcome(self, total: int, kills: int) -> Figures:
        """What became of so many requests."""
        times, late, newest = [0] * total, 0, [-1] * THREADS
        for number, _ in _entries(Path(self.path).read_bytes()):
            times[number] += 1
            if times[number] == 1:
                late += number < newest[number % THREADS]
                newest[number % THREADS] = max(number, newest[number % THREADS])
        again = sum(each > 1 for each in times)
        return {"kills": kills, "lost": times.count(0), "late": late, "again": again}


def kill_workers(
    journal: Journal, total: int, kills: int, goes_on: Callable[[], bool], still_s: float, seed: int | None = None
) -> int:
    """Kill workers at moments that are drawn, until as many entries are there as there are requests. Returns how many
    were killed: not all where `goes_on` said no before, or where no entry was made for `still_s` seconds.
    """
    seed = random.randrange(1 << 32) if seed is None else seed
    print(f"kills by the seed {seed}", file=sys.stderr)
    chance, killed = random.Random(seed), set[int]()

    def kill_after(entries: int) -> bool:
        while _reached(journal, entries, goes_on, still_s):
            time.sleep(chance.uniform(0, 2 * NOTE_S))
            if _killed_one(journal, killed, chance):
                return True
            entries = len(journal) + 1
        return False

    for done in sorted(chance.choices(range(total), k=kills)):
        if not kill_after(done + 1):
            break
    return len(killed)


def _killed_one(journal: Journal, killed: set[int], chance: random.Random) -> bool:
    """Kill one of the workers that are at work. False where all of these are dead."""
    alive = sorted(journal.workers() - killed)
    if not alive:
        return False
    victim = chance.choice(alive)
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:  # it ended by itself
        return False
    killed.add(victim)
    return True


def await_end(journal: Journal, goes_on: Callable[[], bool], still_s: float) -> None:
    """Until it does not go on, or no entry was made for so many seconds."""
    while _reached(journal, len(journal) + 1, goes_on, still_s):
        pass


def _reached(journal: Journal, entries: int, goes_on: Callable[[], bool], still_s: float) -> bool:
    """Whether there are so many entries, once that is known."""
    found, since = len(journal), time.monotonic()
    while found < entries:
        if not goes_on() or time.monotonic() - since > still_s:
            return False
        time.sleep(_LOOK_S)
        if len(journal) > found:
            found, since = len(journal), time.monotonic()
    return True


def _entries(content: bytes) -> Iterator[tuple[int, int]]:
    return NOTE.iter_unpack(content)
