"""What was stored is stored once, also where the guard is held by another process a moment later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shardq.drivers.shared import due
from shardq.drivers.shared.storage import SharedStorage
from shardq.errors import SegmentBusy, StorageClosed
from shardq.model import When
from shardq.shm.verbs.deferring import Deferring
from tests.support.drivers import MIB
from tests.support.engines import needs_c
from tests.support.holder import holder
from tests.support.leaks import segment_name

PIPE = "m/H/0/0"


@pytest.fixture
def storage() -> Iterator[SharedStorage]:
    storage = SharedStorage.create(segment_name(), MIB)
    yield storage
    storage.destroy()


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("verb", [SharedStorage.append, SharedStorage.append_when_room])
async def test_a_guard_that_is_held_while_what_is_due_is_promoted_repeats_no_append(
    verb: Callable[..., Any], absent: bool, storage: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotions = []

    def held(_: Deferring) -> None:
        promotions.append(1)
        raise SegmentBusy("another process is inside")

    monkeypatch.setattr(due, "promote_some", held)
    assert await verb(storage, [(PIPE, [b"one", b"two"])], when=When(1), absent=absent) == 2
    monkeypatch.undo()

    assert promotions == [1]
    await storage.promote()
    assert await storage.length(PIPE) == 2


@needs_c
async def test_only_the_frequent_case_is_appended_at_once(storage: SharedStorage) -> None:
    parts, other = [(PIPE, [b"one", b"two"])], [("m/H/1/0", [b"x"])]
    assert storage.append_at_once(parts) == 0  # the tube is not known
    assert await storage.append(parts) == 2
    assert storage.append_at_once(parts) == 2
    assert storage.append_at_once([*parts, *other]) == 0
    assert await storage.length(PIPE) == 4


async def test_a_guard_that_is_held_lets_nothing_be_appended_at_once(storage: SharedStorage) -> None:
    parts = [(PIPE, [b"one"])]
    await storage.append(parts)
    with holder(storage.name, "hold") as other:
        other.hear()
        assert storage.append_at_once(parts) == 0
    assert await storage.length(PIPE) == 1


async def test_a_storage_that_is_closed_takes_nothing_at_once_and_refuses_it_then(storage: SharedStorage) -> None:
    parts = [(PIPE, [b"one"])]
    await storage.append(parts)
    await storage.close()
    assert storage.append_at_once(parts) == 0
    with pytest.raises(StorageClosed, match="use it inside of their block, or attach"):
        await storage.append(parts)
