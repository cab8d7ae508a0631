"""A small /dev/shm, filled to the brim in a process that may be killed for it, and the handlers for such tests.

    python -m tests.support.capacity CAPACITY_BYTES ROUNDS

wants a /dev/shm of its own, which it fills. It prints one JSON object about each round, and fails where anything is
lost, out of order, or does not fit any more that fitted before. A CAPACITY_BYTES of 0 is the default.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from shardq import Handler, Route
from shardq.drivers import SharedStorage
from shardq.errors import QueueFull
from shardq.shm.store import Store
from tests.support import hands
from tests.support.jobs import Note, Record

KIB = 1 << 10
TUBES = 5
#: Calls of so many messages of such a size, over and over.
CALLS = ((1, 10), (60, 20), (3, 1000), (1, 5000), (20, 5000), (1, 30_000), (60, 8))
FILLER = Path("/dev/shm/another-program")


class Filled(NamedTuple):
    """What went in until nothing more did."""

    calls: int
    messages: int
    payload_bytes: int


class Scene:
    """A segment, and what must be in it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.held_first = 0
        """Payload of the first time that the segment was full, in bytes."""
        self._expected: list[deque[bytes]] = [deque() for _ in range(TUBES)]
        self._number = 0

    @property
    def expected(self) -> int:
        return sum(map(len, self._expected))

    def fill(self) -> Filled:
        """Append until there is room for no kind of call in any tube."""
        calls = messages = payload = refused = 0
        for tube, (count, size) in zip(cycle(range(TUBES)), cycle(CALLS), strict=False):
            batch = self._batch(count, size)
            if self.store.appending.append([(_pipe(tube), batch)]):
                self._expected[tube].extend(batch)
                calls, messages, payload, refused = calls + 1, messages + count, payload + sum(map(len, batch)), 0
                continue
            refused += 1
            if refused == TUBES * len(CALLS):
                return Filled(calls, messages, payload)
        raise AssertionError

    def drain(self, share: float = 1.0) -> int:
        """Take this share of each tube out, and see that it is what was put in, in order."""
        return sum(self._drain_tube(tube, int(len(self._expected[tube]) * share)) for tube in range(TUBES))

    def _drain_tube(self, tube: int, count: int) -> int:
        pipe, left = _pipe(tube), count
        token = self.store.delivering.claim(pipe.rpartition("/")[0])
        assert token, f"{pipe} is claimed by another process"
        while left:
            batch = hands.take(self.store.delivering, [pipe], min(left, 64), token)
            wanted = [self._expected[tube].popleft() for _ in range(batch.count)]
            assert batch.messages == wanted, f"{pipe}: {batch.messages[:1]} instead of {wanted[:1]}"
            assert batch.count, f"{pipe}: {left} messages are lost"
            hands.pop(self.store.delivering, pipe, batch.through, token)
            left -= batch.count
        assert self.store.delivering.unclaim(pipe.rpartition("/")[0], token)
        assert self.store.reading.length(pipe) == len(self._expected[tube])
        return count

    def _batch(self, count: int, size: int) -> list[bytes]:
        first, self._number = self._number, self._number + count
        return [number.to_bytes(8, "little").ljust(size, b"x") for number in range(first, first + count)]


class Blob(NamedTuple):
    folder: str
    number: int
    data: bytes


class Spread(Handler[Note]):
    """Registers as many requests as its number says with `Record`, each with the same padding."""

    def perform(self, *notes: Note) -> None:
        for note in notes:
            first = 1000 * (note.thread + 1)
            self.queue.register_sync(Record, *(note._replace(number=first + n) for n in range(note.number)))

    @classmethod
    def route(cls, *notes: Note) -> list[Route]:
        return [Route(note.thread) for note in notes]


class Unpack(Handler[Blob]):
    """Writes its data to a file."""

    def perform(self, *blobs: Blob) -> None:
        for blob in blobs:
            Path(blob.folder, f"blob-{blob.number}").write_bytes(blob.data)


class Daring(Spread):
    """As `Spread`, and says how often there was no room."""

    def perform(self, *notes: Note) -> None:
        try:
            super().perform(*notes)
        except QueueFull as error:
            with Path(notes[0].folder, "refused").open("a") as file:
                file.write(f"{os.getpid()} {len(error.not_accepted)}\n")
            raise


@contextmanager
def filled_by_another_program() -> Iterator[int]:
    """Everything that /dev/shm has left, in a file of another program."""
    descriptor = os.open(FILLER, os.O_CREAT | os.O_WRONLY, 0o600)
    taken = 0
    try:
        for step in (1 << 20, 4096):
            with _until_full():
                while True:
                    os.posix_fallocate(descriptor, taken, step)
                    taken += step
        yield taken
    finally:
        os.close(descriptor)
        FILLER.unlink()


@contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _pipe(tube: int) -> str:
    return f"tests.capacity/Handler/{tube}/0"


def _report(what: str, **figures: object) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


def _rounds(scene: Scene, count: int) -> None:
    for number in range(count):
        filled = scene.fill()
        used, capacity = scene.store.segment.taken_bytes, scene.store.segment.layout.capacity_bytes
        _report("round", number=number, used_bytes=used, capacity_bytes=capacity, **filled._asdict())
        assert used <= capacity
        first = scene.held_first = scene.held_first or filled.payload_bytes
        assert filled.payload_bytes >= 0.8 * first, f"round {number} held {filled.payload_bytes}, the first {first}"
        scene.drain()


def _rolling(scene: Scene, count: int) -> None:
    """Never empty: half of everything out, and as much as fits in again."""
    scene.fill()
    total = 0
    for number in range(count):
        taken = scene.drain(0.5)
        filled = scene.fill()
        total += filled.messages
        _report("rolling", number=number, taken=taken, **filled._asdict())
    assert total
    scene.drain()


def _behind_our_back(scene: Scene, count: int) -> None:
    """Another program takes all of /dev/shm while the segment is empty, half full, and full."""
    for number in range(count):
        with filled_by_another_program() as taken:
            tight = scene.fill()
            scene.drain(0.5)
            again = scene.fill()
        free = scene.fill()
        with filled_by_another_program():
            handled = scene.drain()
        _report("behind our back", number=number, taken=taken, tight=tight, again=again, free=free, handled=handled)


def main() -> None:
    capacity_bytes, rounds = int(sys.argv[1]) or None, int(sys.argv[2])
    storage = SharedStorage.create("capacity", capacity_bytes)
    scene = Scene(storage.store)
    for part in (_rounds, _rolling, _behind_our_back, _rounds):
        part(scene, rounds)
        assert scene.expected == 0
        counts = storage.store.inspection.counts()
        assert counts.accepted == counts.handled
    _report("end", accepted=counts.accepted, handled=counts.handled)
    storage.destroy()


if __name__ == "__main__":
    main()
