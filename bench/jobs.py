"""The handlers and requests that are measured, where every process can import them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from shardq import Handler, Retry, Route

#: Requests that a run sends end to end, and as many again for each half alone.
REQUESTS = 500_000
#: Sent before the clock starts, so that imports and first page faults are over.
WARM_UP = 20_000
#: Requests of one `register` call.
PER_CALL = 10_000
#: Requests of one call where calls are small.
CALL = 128
THREADS = 16
#: Wake-ups of a latency run, and the pause before each in which all processes fall asleep.
PINGS = 300
PAUSE_S = 0.005
#: Deaths of a recovery run.
KILLS = 200


class Job(NamedTuple):
    number: int
    name: str
    score: float


class Ping(NamedTuple):
    number: int
    sent_ns: int
    """`time.monotonic_ns`, which all processes of a machine share."""


class Nothing(Handler[Job]):
    """Does nothing, in 16 threads."""

    @classmethod
    def route(cls, *requests: Job) -> list[Route]:
        return [Route(request.number % THREADS) for request in requests]

    def handle(self, *requests: Job) -> None:
        pass


#: Nanoseconds from `register` to the handler's first line, in this process.
delays_ns: list[int] = []


class SameThread(Handler[Ping]):
    """Notes when a request arrives. All requests go to one thread, to which its worker stays bound for a while."""

    def handle(self, *requests: Ping) -> None:
        now = time.monotonic_ns()
        delays_ns.extend(now - request.sent_ns for request in requests)


class NewThread(SameThread):
    """As `SameThread`, each request in a thread of its own: the worker has to bind first."""

    @classmethod
    def route(cls, *requests: Ping) -> list[Route]:
        return [Route(request.number) for request in requests]


class Held(NamedTuple):
    folder: str


class Hold(Handler[Held]):
    """Says when it begins, and never ends until there is a file `enough`."""

    retry = Retry(max_attempts=1_000_000, backoff_s=0)
    batch_size = 1

    def handle(self, held: Held) -> None:
        line = os.getpid().to_bytes(8, "little") + time.monotonic_ns().to_bytes(8, "little")
        if Path(held.folder, "enough").exists():
            return
        journal = os.open(Path(held.folder, "begun"), os.O_WRONLY)
        os.write(journal, line)
        os.close(journal)
        time.sleep(3600)


class Asked(NamedTuple):
    thread: int
    sent_ns: int
    journal: str
    """A FIFO that is told how long the request waited. Empty: it is one of a flood, and keeps a core busy instead."""


#: What each request of a flood takes of a core.
FLOOD_S = 20e-6


class Fair(Handler[Asked]):
    """Floods, and requests that have to get through beside them."""

    @classmethod
    def route(cls, *requests: Asked) -> list[Route]:
        return [Route(request.thread) for request in requests]

    def handle(self, *requests: Asked) -> None:
        now = time.monotonic_ns()
        journal = requests[0].journal
        if not journal:
            spin(FLOOD_S * len(requests))
            return
        descriptor = os.open(journal, os.O_WRONLY)
        for request in requests:
            os.write(descriptor, (now - request.sent_ns).to_bytes(8, "little"))
        os.close(descriptor)


class Burn(Handler[Ping]):
    """Keeps a core busy for 50 to 100 milliseconds with each request, in a batch of its own."""

    @classmethod
    def route(cls, *requests: Ping) -> list[Route]:
        return [Route(request.number % THREADS) for request in requests]

    def batch_size(self) -> int:
        return 1

    def handle(self, request: Ping) -> None:
        spin((50 + request.number % 51) / 1000)


def spin(seconds: float) -> None:
    """Compute for so long."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        continue


def jobs() -> list[Job]:
    """The requests of one call. Every contestant sends them again and again: making them is the user's own time."""
    return numbered(0, PER_CALL)


def numbered(first: int, count: int) -> list[Job]:
    """So many requests, none of which is equal to another."""
    return [Job(number, f"job-{number}", number / 7) for number in range(first, first + count)]
