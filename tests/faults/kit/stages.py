"""Where a storm takes place: a segment, or a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from shardq.model import Ending
from shardq.protocols import Storage
from tests.faults.kit.scene import check_usable, check_whole, scene
from tests.support.drivers import driver_named


class Stage(NamedTuple):
    storage: Storage
    note_death: Callable[[int], None]
    """Tells the storage that the process of this pid is dead, where it does not see that by itself."""
    check_whole: Callable[[], None]
    """All that it has fits together."""
    check_usable: Callable[[], None]
    """It can be used once all is handled."""
    numbers_follow: bool
    """Whether the numbers of a tube follow one another from 0 on; else they only grow."""


#: Opens a stage of this capacity, in bytes.
NewStage = Callable[[int], AbstractContextManager[Stage]]


@contextmanager
def segment(capacity_bytes: int) -> Iterator[Stage]:
    with scene(capacity_bytes, threads=64) as there:
        yield Stage(
            there.storage,
            lambda _: None,
            lambda: check_whole(there.store),
            lambda: check_usable(there),
            numbers_follow=True,
        )


@contextmanager
def server(capacity_bytes: int) -> Iterator[Stage]:
    from shardq.drivers.redis.check import wrongs

    backend = driver_named("redis").make(capacity_bytes)
    storage = backend.storage

    def note_death(pid: int) -> None:
        assert backend.note_death
        backend.note_death(pid, Ending(signal=9))

    def check() -> None:
        assert asyncio.run(wrongs(storage.server)) == []  # type: ignore[attr-defined]

    try:
        yield Stage(storage, note_death, check, check, numbers_follow=False)
    finally:
        asyncio.run(backend.discard())
