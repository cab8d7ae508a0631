"""What viewers of the page share: the one that looks at the storage."""

from __future__ import annotations

import pytest

from shardq.drivers import SharedStorage
from shardq.errors import ConfigurationError, StorageUnavailable
from shardq.web.looking import Lookout
from tests.support.drivers import MIB


async def test_a_viewer_who_asks_for_what_cannot_be_leaves_it_to_others(name: str) -> None:
    storage = SharedStorage.create(name, MIB)
    lookout = Lookout(f"shm://{name}")
    async with lookout.looking() as observer:
        with pytest.raises(ConfigurationError):
            async with lookout.looking():
                raise ConfigurationError("no such filter")
        assert (await observer.backlog()).queued == 0
        with pytest.raises(StorageUnavailable):
            async with lookout.looking():
                raise StorageUnavailable("gone")
    async with lookout.looking() as another:
        assert another is not observer
    lookout.close()
    storage.destroy()
