"""A worker that serves all its process knows also serves what the process gets to know while the worker sleeps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from shardq import Handler, Queue, Worker
from shardq.handler import handler_name
from shardq.working.hooks import Hooks
from tests.support.drivers import Backend
from tests.support.tasks import LIMIT_S, in_thread
from tests.support.workers import Item, Routed, diary, new_worker, working

SOURCE = """
from shardq import Handler
from tests.support.workers import Item, diary


class Late(Handler[Item]):
    def perform(self, *items):
        diary.add("done", *(item.number for item in items))
"""

#: Looks again for no reason of its own within the test.
NO_NETS = {"QUEUE_STORAGE_SAFETY_NET": "3600", "QUEUE_WORKER_EMPTY_PAUSE": "3600"}


@pytest.fixture(autouse=True)
def no_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, seconds in NO_NETS.items():
        monkeypatch.setenv(variable, seconds)


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ModuleType]:
    """Imports a module with a handler that was not there before, named `late_module`."""
    (tmp_path / "late_module.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "late_module", raising=False)

    def imported() -> ModuleType:
        module = import_module("late_module")
        monkeypatch.setitem(sys.modules, "late_module", module)
        return module

    return imported


async def asleep(worker: Worker) -> None:
    """Wait until the worker sleeps, from before its loop began on."""
    sleeps = asyncio.Event()
    usual, worker.hooks = worker.hooks, Hooks(before_sleep=sleeps.set)
    async with asyncio.timeout(LIMIT_S):
        if worker.waiting.sleeper is None:
            await sleeps.wait()
    worker.hooks = usual


async def test_a_handler_that_is_imported_while_the_worker_sleeps_is_served(
    queue: Queue, worker: Worker, late: Callable[[], ModuleType]
) -> None:
    async with working(worker):
        await asleep(worker)
        await queue.register(late().Late, Item(0, 7))
        await diary.until("done", 7)


async def test_what_waits_for_a_handler_is_served_as_soon_as_that_is_imported(
    queue: Queue, worker: Worker, late: Callable[[], ModuleType]
) -> None:
    [message] = queue.serializer.encode(Item, [Item(0, 7)])
    await queue.storage.append([("late_module/Late/0/0", [message])])
    async with working(worker):
        await asleep(worker)
        late()
        await diary.until("done", 7)


async def test_an_import_in_another_thread_counts(queue: Queue, worker: Worker, late: Callable[[], ModuleType]) -> None:
    async with working(worker):
        await asleep(worker)
        module = await asyncio.to_thread(late)
        await queue.register(module.Late, Item(0, 7))
        await diary.until("done", 7)


async def test_a_class_whose_definition_has_not_ended_is_served_once_it_has(
    queue: Queue, worker: Worker, late: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker looks while the class has no name yet."""
    looked, loop = threading.Event(), asyncio.get_running_loop()
    usual = Handler.__init_subclass__.__func__  # type: ignore[attr-defined]

    def made(cls: type[Any], **options: Any) -> None:
        usual(cls, **options)
        assert looked.wait(LIMIT_S)

    monkeypatch.setattr(Handler, "__init_subclass__", classmethod(made))
    [message] = queue.serializer.encode(Item, [Item(0, 7)])
    await queue.storage.append([("late_module/Late/0/0", [message])])
    sleeps = 0

    def sleep_begins() -> None:
        nonlocal sleeps
        sleeps += 1
        if sleeps == 2:
            loop.call_soon(looked.set)

    worker.hooks = Hooks(before_sleep=sleep_begins)
    async with working(worker):
        await asleep(worker)
        await asyncio.to_thread(late)
        await diary.until("done", 7)


#: In an interpreter of its own, whose few objects make it likely that a class gets the memory of the one before.
REUSED = """
import gc, sys
from types import ModuleType
from shardq import Handler, Queue, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage

module = sys.modules["late_module"] = ModuleType("late_module")
worker, former, kept = Worker(RuntimeLock(), Queue(RuntimeStorage())), 0, []

def perform(self, *requests: int): ...

for number in range(1000):
    name = f"Late{number}"
    made = type(name, (Handler,), {"__module__": "late_module", "perform": perform})
    setattr(module, name, made)
    assert f"late_module/{name}" in worker.handlers.served(), number
    if id(made) == former:
        sys.exit("reused")
    former = id(made)
    delattr(module, name)
    del made
    gc.collect()
    if number % 10 == 9:  # classes may get two memories in turn: one of these is used up
        kept.append(type("Kept", (Handler,), {"__module__": "other_module", "perform": perform}))
"""


def test_a_class_at_the_address_of_one_that_is_gone_is_served() -> None:
    program = subprocess.run((sys.executable, "-c", REUSED), capture_output=True, text=True, timeout=60, check=False)
    assert program.stderr == "reused\n"


async def test_a_first_request_in_another_loop_counts(backend: Backend, queue: Queue, worker: Worker) -> None:
    class Local(Routed):
        def perform(self, *items: Item) -> None:
            diary.add("done", *(item.number for item in items))

    if queue.storage.importable_only:
        pytest.skip("this storage takes no local classes")
    async with working(worker):
        await asleep(worker)
        assert handler_name(Local) not in worker.handlers.served()
        await in_thread(lambda: queue.register(Local, Item(0, 7)))
        await diary.until("done", 7)


async def test_a_worker_that_holds_an_empty_thread_leaves_it_for_a_newcomer(
    backend: Backend, queue: Queue, late: Callable[[], ModuleType]
) -> None:
    worker = new_worker(backend, queue, empty_limit=1, empty_pause=3600)
    async with working(worker):
        await queue.register(Early, Item(0, 1))
        await diary.until("early")
        await asleep(worker)
        await queue.register(late().Late, Item(0, 7))
        await diary.until("done", 7)


class Early(Routed):
    def perform(self, *items: Item) -> None:
        diary.add("early", len(items))


async def test_a_worker_for_one_handler_sleeps_on(queue: Queue, worker: Worker) -> None:
    task = asyncio.create_task(worker.loop(handler=Early))
    await asleep(worker)
    slept_anew = list[None]()
    worker.hooks = Hooks(before_sleep=lambda: slept_anew.append(None))

    type("Newcomer", (Routed,), {})
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert worker.waiting.sleeper is task
    worker.stop()
    async with asyncio.timeout(LIMIT_S):
        await task
    assert not slept_anew
