"""Where the storage of a family lies in a test: in a segment, or on the server of the tests.

A test that is to run on both wears `on_each_home`. It asks its home for the URL, and for what is left there in the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Protocol, TypeVar

import pytest

from shardq import Handler, Queue, connect
from shardq.cli.opened import attached
from shardq.drivers import SharedStorage
from shardq.drivers.shared.contents import in_words, wrongs
from shardq.errors import SegmentError
from shardq.model import AtWork
from shardq.shm.files.own_files import remove_files
from tests.support.chance import sample_of_run
from tests.support.drivers import MIB
from tests.support.redis_server import removed_when_right, running_server
from tests.support.segments import files_of

_Result = TypeVar("_Result")


class Home(Protocol):
    """One storage, which is there once something uses it."""

    name: str
    url: str

    def leave(self, handler: type[Handler[Any]], requests: Sequence[Any]) -> None:
        """Store requests that no worker serves yet."""
        ...

    def left(self) -> list[str]:
        """What is left once all families have ended and all work is done; nothing should be."""
        ...

    def wrong(self) -> list[str]:
        """What is wrong in the storage."""
        ...

    def workers(self, queue: Queue) -> list[int]:
        """Pids of all workers, those included whose supervisor is dead."""
        ...

    def at_work(self, queue: Queue) -> Sequence[AtWork]:
        """What they are at."""
        ...

    def discard(self) -> None:
        """Remove all that is left, in which nothing may be wrong."""
        ...


class SegmentHome:
    def __init__(self, name: str) -> None:
        self.name = name
        self.url = f"shm://{name}"

    def leave(self, handler: type[Handler[Any]], requests: Sequence[Any]) -> None:
        storage = SharedStorage.create(self.name, 8 * MIB)
        assert Queue(storage).register_sync(handler, *requests) == len(requests)
        asyncio.run(storage.close())

    def left(self) -> list[str]:
        return sorted(files_of(self.name))

    def wrong(self) -> list[str]:
        """Of a segment that is there: what is named so may be none, and is looked at by the test itself."""
        with suppress(SegmentError), attached(self.url) as storage:
            return wrongs(storage)
        return []

    def workers(self, queue: Queue) -> list[int]:
        storage = queue.storage
        assert isinstance(storage, SharedStorage)
        return storage.store.supervision.workers()

    def at_work(self, queue: Queue) -> Sequence[AtWork]:
        storage = queue.storage
        assert isinstance(storage, SharedStorage)
        return storage.workers()

    def discard(self) -> None:
        found = self.wrong()
        remove_files(self.name)
        assert not found, "\n".join(found)


class ServerHome:
    def __init__(self, name: str) -> None:
        self.name = name
        self.url = f"{running_server().url}?prefix={name}_"

    def leave(self, handler: type[Handler[Any]], requests: Sequence[Any]) -> None:
        async def leave(queue: Queue) -> None:
            assert await queue.register(handler, *requests) == len(requests)

        self._do(leave)

    def left(self) -> list[str]:
        """Figures and numbers of calls stay, and until the next message those that slept when they were killed."""

        async def look(queue: Queue) -> list[str]:
            return in_words(await queue.storage.backlog())

        return [*self._do(look), *self.wrong()]

    def wrong(self) -> list[str]:
        from shardq.drivers.redis import check

        async def look(queue: Queue) -> list[str]:
            storage: Any = queue.storage
            return await check.wrongs(storage.server)

        return self._do(look)

    def workers(self, queue: Queue) -> list[int]:
        from shardq.drivers.redis.overview import stats_of

        return [worker.pid for worker in stats_of(queue.storage).workers]

    def at_work(self, queue: Queue) -> Sequence[AtWork]:
        from shardq.drivers.redis.overview import stats_of

        return stats_of(queue.storage).at_work

    def discard(self) -> None:
        async def remove(queue: Queue) -> None:
            await removed_when_right(queue.storage)

        self._do(remove)

    def _do(self, act: Callable[[Queue], Coroutine[Any, Any, _Result]]) -> _Result:
        async def acted() -> _Result:
            async with await connect(self.url) as queue:
                return await act(queue)

        with ThreadPoolExecutor(1) as thread:  # the test may have a loop of its own
            return thread.submit(copy_context().run, asyncio.run, acted()).result()


def home_of(request: pytest.FixtureRequest, name: str) -> Home:
    """The home that a test asks for; a segment where it does not say."""
    kind: Callable[[str], Home] = getattr(request, "param", SegmentHome)
    return kind(name)


on_each_home = pytest.mark.parametrize("home", [SegmentHome, ServerHome], indirect=True, ids=["segment", "server"])


def cases_on_homes(names: str, cases: Mapping[str, Sequence[Any]], on_server: Collection[str]) -> pytest.MarkDecorator:
    """Runs each case in a segment, and some of them on a server too: what differs there is the driver, not the case.
    A run draws half of all that. `names`: of the values of a case, as `parametrize` takes them.
    """
    chosen = [pytest.param(*values, SegmentHome, id=name) for name, values in cases.items()]
    chosen += [pytest.param(*cases[name], ServerHome, id=f"{name}-server") for name in on_server]
    drawn = sample_of_run(chosen, (len(chosen) + 1) // 2)
    return pytest.mark.parametrize((*names.split(), "home"), drawn, indirect=["home"])
