"""The handlers and requests that are measured, where every process can import them."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

from shardq import Handler, Retry, Route

#: The module that the families of the benchmarks serve.
JOBS = __name__
#: Requests of one call where calls are large, and where they are not.
PER_CALL = 10_000
CALL = 128
#: Threads that `Nothing` spreads its requests over.
THREADS = 16
CAPACITY_BYTES = 256 << 20
#: By the requests of one call: how many a round sends in all.
TOTALS = {1: 12_000, 16: 50_000, 128: 250_000, 10_000: 300_000}


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


class Many(Nothing):
    """As `Nothing`, in a thousand threads."""

    @classmethod
    def route(cls, *requests: Job) -> list[Route]:
        return [Route(request.number % 1000) for request in requests]


class One(Nothing):
    """As `Nothing`, in one thread."""

    @classmethod
    def route(cls, *requests: Job) -> list[Route]:
        return [Route()] * len(requests)


class ByKey(Nothing):
    """As `Nothing`, in threads by a hash of the number."""

    @classmethod
    def route(cls, *requests: Job) -> list[Route]:
        return [Route.by(request.number, threads=THREADS) for request in requests]


class Declared(Nothing):
    """As `ByKey`, declared."""

    route_by = "number"
    threads = THREADS


#: Nanoseconds from `register` to the handler's first line, in this process.
delays_ns: list[int] = []


class SameThread(Handler[Ping]):
    """Notes when a request arrives, unless it does not know when it was sent. All requests go to one thread, to which
    its worker stays bound for a while.
    """

    def handle(self, *requests: Ping) -> None:
        now = time.monotonic_ns()
        delays_ns.extend(now - request.sent_ns for request in requests if request.sent_ns)


class NewThread(SameThread):
    """As `SameThread`, each request in a thread of its own: the worker has to bind first."""

    @classmethod
    def route(cls, *requests: Ping) -> list[Route]:
        return [Route(request.number) for request in requests]


class Spread(SameThread):
    """As `SameThread`, in 16 threads."""

    @classmethod
    def route(cls, *requests: Ping) -> list[Route]:
        return [Route(request.number % THREADS) for request in requests]


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


class Noted(NamedTuple):
    number: int
    journal: str


#: An entry in a journal: the number of a request, and the pid of the worker that has done it.
NOTE = struct.Struct("=qq")
#: What each takes of a processor before.
NOTE_S = 250e-6


class Note(Handler[Noted]):
    """Works on each request for a moment, and then notes in a journal that it is done. In 16 threads."""

    batch_size = 16

    @classmethod
    def route(cls, *requests: Noted) -> list[Route]:
        return [Route(request.number % THREADS) for request in requests]

    def handle(self, *requests: Noted) -> None:
        for request in requests:
            note(request)


def note(request: Noted) -> None:
    """As `Note`, for one request."""
    compute(NOTE_S)
    descriptor = os.open(request.journal, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, NOTE.pack(request.number, os.getpid()))
    os.close(descriptor)


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


class Work(NamedTuple):
    number: int
    seconds: float


class Compute(Handler[Work]):
    """Takes as much of a processor as each request says, in 16 threads."""

    batch_size = 16

    @classmethod
    def route(cls, *requests: Work) -> list[Route]:
        return [Route(request.number % THREADS) for request in requests]

    def handle(self, *requests: Work) -> None:
        for request in requests:
            compute(request.seconds)


class Task(NamedTuple):
    number: int
    name: str
    seconds: float


class Answer(Handler[Task, int]):
    """Takes as much of a processor as each request says, and returns its number. Calls of 128 go round 16 threads."""

    batch_size = CALL

    @classmethod
    def route(cls, *requests: Task) -> list[Route]:
        return [Route(request.number // CALL % THREADS) for request in requests]

    def handle(self, *requests: Task) -> list[int]:
        return [answer(request) for request in requests]


def answer(task: Task) -> int:
    """As `Answer`, for one request."""
    if task.seconds:
        compute(task.seconds)
    return task.number


def tasks(count: int, seconds: float) -> Iterator[Task]:
    """So many, of which none is kept."""
    return (Task(number, "task", seconds) for number in range(count))


class Blob(NamedTuple):
    number: int
    content: bytes


class Carry(Handler[Blob]):
    """Does nothing with requests of any size, in 16 threads."""

    @classmethod
    def route(cls, *requests: Blob) -> list[Route]:
        return [Route(request.number % THREADS) for request in requests]

    def handle(self, *requests: Blob) -> None:
        pass


class Registering(Handler[Job]):
    """Sends each request on to `Nothing`, by `register`."""

    route = Nothing.route

    async def handle(self, *requests: Job) -> None:
        await self.queue.register(Nothing, *requests)


class Emitting(Handler[Job]):
    """Sends each request on to `Nothing`, by `emit`."""

    route = Nothing.route

    async def handle(self, *requests: Job) -> None:
        await self.emit(Nothing, *requests)


def chunk_of(seconds: float) -> int:
    """How many tasks of so much processor time a rival should be given at once."""
    return 1 if seconds > 1e-3 else 16


def compute(seconds: float) -> None:
    """Use so much processor time: where a process has to share its core, it takes longer."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        continue


def spin(seconds: float) -> None:
    """Compute for so long."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        continue


def numbered(first: int, count: int) -> list[Job]:
    """So many requests, none of which is equal to another."""
    return [Job(number, f"job-{number}", number / 7) for number in range(first, first + count)]


def stamped(number: int, count: int, sent_ns: int) -> list[Ping]:
    """A call of requests that know when they were sent."""
    return [Ping(each, sent_ns) for each in range(number * count, (number + 1) * count)]


def calls_of(call: int, total: int) -> Iterator[list[Job]]:
    """The requests of each call, `total` in all. Each contestant sends the same few again and again, since making them
    is the user's own time.
    """
    made = [numbered(first, call) for first in range(0, max(call, 1024), call)]
    return islice(cycle(made), max(1, total // call))
