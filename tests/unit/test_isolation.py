"""What the code of a handler sees of the worker that calls it: no loop where it is plain, variables of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any, ClassVar

import pytest
import uvloop
from pydantic import BaseModel, field_validator

from shardq import Handler, Queue, Retry, Route, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.errors import HandlerTimeout, QueueFull
from shardq.handling.isolation import InContext, plainly
from shardq.settings import StorageSettings
from shardq.supervisor.wishes.signals import alarm
from tests.support.drivers import MIB
from tests.support.tasks import LIMIT_S
from tests.unit.queue_handlers import Job, Later, Plain

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine on one loop or the other."""

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(coroutine)

    return run


Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def one() -> int:
    await asyncio.sleep(0)
    return 1


def by_own_loop() -> int:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(one())
    finally:
        loop.close()


def loop_seen() -> bool:
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return True
    return False


WAYS: list[Callable[[], object]] = [
    lambda: asyncio.run(one()),
    lambda: uvloop.run(one()),
    by_own_loop,
    lambda: asyncio.run(asyncio.wait_for(one(), LIMIT_S)),
]


class Noted(BaseModel):
    """Its validation is plain code as well."""

    seen: ClassVar[list[bool]] = []
    number: int

    @field_validator("number")
    @classmethod
    def _look(cls, number: int) -> int:
        cls.seen.append(loop_seen())
        return number


def served(handler: type[Handler[Any]], *requests: Any) -> Coroutine[Any, Any, None]:
    """Serve these requests, one in a batch, in the process of the test."""

    async def serve() -> None:
        queue = Queue(RuntimeStorage())
        worker = Worker(RuntimeLock(), queue)
        worker.settings.batch_size = 1
        await queue.register(handler, *requests)
        async with asyncio.timeout(LIMIT_S):
            await worker.loop(limit=len(requests), handler=handler)

    return serve()


@pytest.mark.parametrize("way", WAYS, ids=["asyncio.run", "uvloop.run", "own loop", "wait_for"])
def test_plain_code_can_run_a_loop_of_its_own(run: Run, way: Callable[[], object]) -> None:
    came: list[object] = []

    class Runs(Handler[Job]):
        retry = Retry(max_attempts=1)

        def perform(self, *requests: Job) -> None:
            came.append(way())

    run(served(Runs, Job(1), Job(2)))

    assert came == [1, 1]


def test_no_plain_method_sees_a_loop_and_each_async_one_does(run: Run) -> None:
    seen: dict[str, bool] = {}
    sizes: list[bool] = []

    class Looking(Handler[Noted]):
        @classmethod
        def create(cls) -> Looking:
            seen["create"] = loop_seen()
            return cls()

        async def start(self) -> None:
            await asyncio.sleep(0)
            seen["start"] = loop_seen()

        def batch_size(self) -> int:
            sizes.append(loop_seen())
            return 1

        def perform(self, *requests: Noted) -> Any:
            seen["perform"] = loop_seen()
            return self.later()

        async def later(self) -> None:
            seen["later"] = loop_seen()

        def stop(self) -> None:
            seen["stop"] = loop_seen()

    request = Noted(number=1)
    Noted.seen.clear()
    run(served(Looking, request))

    plain = {"create": False, "perform": False, "stop": False}
    assert seen == {**plain, "start": True, "later": True}
    assert sizes == [False, False]  # at the start, and for the batch
    # Where it was registered, by code of a loop, it was tried out; then it was read for the handler.
    assert Noted.seen == [True, False]


def test_after_plain_code_the_loop_and_its_task_are_there_again(run: Run) -> None:
    async def main() -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def fail() -> None:
            assert not loop_seen()
            raise KeyError

        with pytest.raises(KeyError):
            plainly(fail)

        assert (asyncio.current_task(), asyncio.get_running_loop()) == (task, loop)
        async with asyncio.timeout(LIMIT_S):
            assert await one() == 1

    run(main())


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_what_a_batch_sets_the_next_does_not_see(run: Run, kind: str) -> None:
    seen: list[str] = []

    class Plainly(Handler[Job]):
        def perform(self, *requests: Job) -> None:
            seen.append(VARIABLE.get())
            VARIABLE.set("set by a batch")

    class Later(Handler[Job]):
        async def perform(self, *requests: Job) -> None:
            seen.append(VARIABLE.get())
            VARIABLE.set("set by a batch")
            await asyncio.sleep(0)
            assert VARIABLE.get() == "set by a batch"

    async def main() -> None:
        VARIABLE.set("of the application")
        await served(Plainly if kind == "plain" else Later, Job(1), Job(2), Job(3))
        assert VARIABLE.get() == "of the application"

    run(main())

    assert seen == ["of the application"] * 3


def test_what_start_sets_all_batches_see_and_stop_can_take_back(run: Run) -> None:
    seen: list[str] = []

    class Starting(Handler[Job]):
        async def start(self) -> None:
            self.token = VARIABLE.set("set by start")

        def perform(self, *requests: Job) -> None:
            seen.append(VARIABLE.get())
            VARIABLE.set("set by a batch")

        async def stop(self) -> None:
            VARIABLE.reset(self.token)
            seen.append(VARIABLE.get())

    run(served(Starting, Job(1), Job(2)))

    assert seen == ["set by start", "set by start", "unset"]


def test_each_step_of_a_coroutine_is_in_its_context_and_tells_how_it_ended(run: Run) -> None:
    told: list[object] = []

    async def code() -> str:
        VARIABLE.set("inside")
        await asyncio.sleep(0)
        try:
            await asyncio.sleep(LIMIT_S)
        except asyncio.CancelledError:
            return VARIABLE.get()
        raise AssertionError

    def tell(outcome: BaseException | None) -> None:
        told.append(type(outcome))

    async def main() -> str:
        task = asyncio.ensure_future(InContextOf(code(), tell))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        assert VARIABLE.get() == "unset"
        return await task

    async def InContextOf(coroutine: Coroutine[Any, Any, str], tell: Callable[[Any], None]) -> str:  # noqa: N802
        came: str = await InContext(copy_context(), coroutine, tell)
        assert VARIABLE.get() == "unset"
        return came

    assert run(main()) == "inside"
    assert told == [type(None), type(None), StopIteration]


class Routed(Exception):
    """Out of a route, which ends the call."""


class Routing(Handler[Job]):
    """Says whether its route sees an event loop."""

    @classmethod
    def route(cls, *requests: Job) -> list[Route]:
        raise Routed(loop_seen())

    def perform(self, *requests: Job) -> None:
        """No request comes so far."""


def test_a_plain_route_sees_a_loop_only_where_its_caller_has_one(run: Run) -> None:
    queue = Queue(RuntimeStorage())

    def mapped() -> None:
        with queue.map_sync(Routing, [Job(1)]) as results:
            list(results)

    for call in (lambda: queue.call_sync(Routing, Job(1)), lambda: queue.submit_sync(Routing, Job(1)), mapped):
        with pytest.raises(Routed) as plain:
            call()
        assert plain.value.args == (False,)
    with pytest.raises(Routed) as awaited:
        run(queue.call(Routing, Job(1)))
    assert awaited.value.args == (True,)


def test_register_sync_raises_on_a_full_storage_in_plain_code_and_does_not_wait(run: Run) -> None:
    errors: list[QueueFull] = []

    class Registering(Handler[Job]):
        def perform(self, *requests: Job) -> None:
            try:
                for number in range(20):
                    self.queue.register_sync(Plain, Job(number, bytes(100_000)))
            except QueueFull as full:
                errors.append(full)

    async def main() -> None:
        queue = Queue(RuntimeStorage(StorageSettings(capacity_bytes=MIB, when_full="wait")))
        await queue.register(Registering, Job(1))
        async with asyncio.timeout(LIMIT_S):
            await Worker(RuntimeLock(), queue).loop(limit=1, handler=Registering)

    run(main())

    assert len(errors) == 1
    assert "inside a handler" in str(errors[0])


def test_register_sync_waits_for_an_async_route_in_plain_code(run: Run) -> None:
    came: list[int] = []

    class Registering(Handler[Job]):
        def perform(self, *requests: Job) -> None:
            came.append(self.queue.register_sync(Later, *requests))

    run(served(Registering, Job(1)))

    assert came == [1]


def strike_soon() -> None:
    """From here on, and not while a loop is set up: uvloop does not bear an exception in that."""
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.2)


def spin() -> None:
    strike_soon()
    while True:
        continue


async def spin_later() -> None:
    await asyncio.sleep(0)
    spin()


async def sleep_long() -> None:
    strike_soon()
    await asyncio.sleep(10 * LIMIT_S)


@pytest.mark.parametrize(
    "code",
    [spin, lambda: asyncio.run(spin_later()), lambda: asyncio.run(sleep_long()), lambda: uvloop.run(spin_later())],
    ids=["plain", "own loop, busy", "own loop, waiting", "own uvloop, busy"],
)
def test_an_alarm_strikes_plain_code_and_the_loop_it_runs(run: Run, code: Callable[[], object]) -> None:
    async def main() -> None:
        with pytest.raises(HandlerTimeout), alarm(LIMIT_S):
            plainly(code)
        assert await one() == 1

    run(main())


def test_an_alarm_spares_other_tasks(run: Run) -> None:
    async def main() -> None:
        with alarm(0.01):
            other = asyncio.create_task(busy())
            await other

    async def busy() -> None:
        ends = asyncio.get_running_loop().time() + 0.1
        while asyncio.get_running_loop().time() < ends:
            continue

    run(main())


def test_plain_code_without_a_loop_is_just_called() -> None:
    assert plainly(lambda *numbers: sum(numbers), 1, 2) == 3
    assert sys.exc_info() == (None, None, None)
