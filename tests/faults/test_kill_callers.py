"""A worker, or the caller that waits for its results, is killed before any line: each request has one result, and of a
dead caller nothing stays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

import pytest

from shardq import Handler, Queue, Retry, Route, Worker
from shardq.drivers.shared.storage import SharedLock
from shardq.encoding.replies import decode_reply
from shardq.handling.info import info_of
from shardq.model import Tube, handler_name, key_of
from shardq.results.inbox import OpenInbox
from shardq.results.outcome import values_of
from shardq.settings import WorkerSettings
from shardq.working.hooks import Hooks
from tests.faults.kit.points import PACKAGE, SCOPE, Child, Line, Step, die_at, lines_of, one_of_each_line, sample
from tests.faults.kit.scene import Scene, check_whole, scene
from tests.support.listing import listed
from tests.support.programs import until
from tests.support.tasks import LIMIT_S

T = TypeVar("T")

#: Lines that a sampled run dies at, of the worker and of the caller.
SAMPLE = 6
#: Requests of a trial, more than a batch of each thread.
REQUESTS = 5
WORKING = (*SCOPE, f"{PACKAGE / 'working'}{os.sep}", f"{PACKAGE / 'results'}{os.sep}")
CALLING = (*SCOPE, f"{PACKAGE / 'results'}{os.sep}", f"{PACKAGE / 'queue.py'}")


class Sent(Handler[int]):
    """What the other handler emits. No worker of these tests serves it."""

    def perform(self, *numbers: int) -> None:
        raise AssertionError("served")


class Echo(Handler[int, int]):
    """Answers each number, and emits it."""

    batch_size = 2
    retry = Retry(backoff_s=0.001)

    @classmethod
    def route(cls, *numbers: int) -> list[Route]:
        return [Route(number % 2) for number in numbers]

    def perform(self, *numbers: int) -> list[int]:
        self.emit_sync(Sent, *numbers)
        return [10 * number for number in numbers]


class Fails(Echo):
    """Has no answer to 3."""

    retry = Retry(max_attempts=2, backoff_s=0.0)

    def perform(self, *numbers: int) -> list[int]:
        if 3 in numbers:
            raise ValueError("no answer")
        return super().perform(*numbers)


PIPE = Tube(Sent, Route()).pipe
SENT = key_of(PIPE)


def serve(there: Scene, enough: float = float("inf")) -> None:
    """Be a worker until so many requests left."""
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        if done >= enough:
            worker.stop()

    lock = SharedLock(there.storage)
    worker = Worker(lock, Queue(there.storage), WorkerSettings(empty_limit=0), hooks=Hooks(after_batch=count))
    asyncio.run(worker.loop(handler=[Echo, Fails]))


async def asked(there: Scene, handler: type[Echo]) -> OpenInbox:
    """An inbox of this process, to which the results of requests go."""
    queue, inbox = Queue(there.storage), OpenInbox(there.storage)
    await inbox.open()
    await queue.stored(await queue.sealed(handler, range(REQUESTS), inbox.number, 0, abandon=True))
    return inbox


async def answers(inbox: OpenInbox, handler: type[Echo], most: int = REQUESTS) -> list[tuple[int, int | str]]:
    """The results of so many requests, or all there are within no time."""
    found = list[tuple[int, int | str]]()
    while len(found) < most:
        messages = await inbox.read(LIMIT_S if most == REQUESTS else 0)
        assert messages or most > REQUESTS, f"only {found} came"
        if not messages:
            break
        for reply in map(decode_reply, messages):
            values = [reply.failure.message] if reply.failure else values_of(info_of(handler), reply)
            found += zip(reply.requests, values, strict=True)
    return sorted(found)


def chosen(lines: Sequence[Line], random: Random, *, everything: bool) -> list[Step]:
    steps = one_of_each_line(lines, random)
    return steps if everything else sample(steps, SAMPLE, random)


@pytest.mark.parametrize("handler", [Echo, Fails])
@pytest.mark.timeout(1800)
def test_a_worker_dies_and_each_request_has_one_result(
    handler: type[Echo], random: Random, everything: bool, tried: Callable[[str, int], None]
) -> None:
    with scene(threads=64) as there:
        asyncio.run(asked(there, handler))
        lines = lines_of(there.store.inspection.counts, lambda: serve(there, REQUESTS), WORKING)
    points = chosen(lines, random, everything=everything)
    for step in points:
        with scene(threads=64) as there:
            inbox = asyncio.run(asked(there, handler))
            die_at(step, there.store.inspection.counts, lambda: serve(there, REQUESTS))
            survivor = Child(lambda: serve(there))
            try:
                found = asyncio.run(answers(inbox, handler))
            finally:
                survivor.kill()
            # What is said of the failure depends on whether its last attempt came to its end.
            told = [(n, "failed" if isinstance(value, str) else value) for n, value in found]
            expected = [(n, "failed" if handler is Fails and n == 3 else 10 * n) for n in range(REQUESTS)]
            assert told == expected, step
            assert asyncio.run(answers(inbox, handler, REQUESTS + 1)) == [], step
            emitted = [n for n, value in expected if isinstance(value, int)]
            assert sorted(stored(there)) == emitted, step
            asyncio.run(inbox.close())
            assert listed(there.store.reading.pipes) == [PIPE], step
            check_whole(there.store)
    tried("kill points", len(points))


def stored(there: Scene) -> list[int]:
    """What was emitted."""
    batch = there.store.reading.read(PIPE, 100)
    return Queue(there.storage).serializer.decode(int, batch)


def call(there: Scene) -> None:
    """Call and map the handler, in a process that has a worker beside it."""

    async def ask() -> None:
        queue = Queue(there.storage)
        assert await queue.call(Echo, 4, timeout_s=LIMIT_S) == 40
        async with queue.map(Echo, range(REQUESTS), window=3, timeout_s=LIMIT_S) as results:
            assert [result async for result in results] == [10 * n for n in range(REQUESTS)]

    asyncio.run(ask())


def with_a_worker(there: Scene, act: Callable[[], T]) -> T:
    """What `act` returns; the worker beside it works off all there is before it is killed."""
    worker = Child(lambda: serve(there))
    try:
        until(lambda: there.store.inspection.serving(handler_name(Echo)) > 0, "the worker looks for work")
        result = act()
        until(lambda: {key_of(pipe) for pipe in listed(there.store.reading.pipes)} <= {SENT}, "all else is done")
        until(lambda: there.store.leaving.in_hand() == [], "all is let go")
        return result
    finally:
        worker.kill()


@pytest.mark.timeout(1800)
def test_a_caller_dies_and_nothing_of_it_stays(
    random: Random, everything: bool, tried: Callable[[str, int], None]
) -> None:
    with scene(threads=64) as there:
        points = chosen(
            with_a_worker(there, lambda: lines_of(lambda: None, lambda: call(there), CALLING)),
            random,
            everything=everything,
        )
    for step in points:
        with scene(threads=64) as there:
            with_a_worker(there, lambda: die_at(step, lambda: None, lambda: call(there)))  # noqa: B023
            assert listed(there.store.reading.pipes) in ([], [PIPE]), step
            assert max(map(stored(there).count, range(REQUESTS))) <= 2, step  # once for the call, once for the map
            assert there.store.leaving.in_hand() == [], step
            check_whole(there.store)
    tried("kill points", len(points))
