"""`shardq.observe`: what it makes of URLs."""

from __future__ import annotations

import pytest

from shardq import observe
from shardq.errors import ConfigurationError, SegmentMissing
from shardq.handler import drive
from shardq.shm.store import Store


@pytest.mark.parametrize("url", ["memory://", "http://host", "shm://", "shm://a/b", "", None])
def test_what_no_other_process_can_look_into_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="shm://NAME"):
        observe(url)


def test_a_segment_has_to_be_there(name: str) -> None:
    with pytest.raises(SegmentMissing, match=name):
        observe(f"shm://{name}")


def test_closing_twice_is_fine(store: Store) -> None:
    observer = observe(f"shm://{store.segment.name}")
    assert drive(observer.backlog()).queued == 0
    observer.close()
    observer.close()
