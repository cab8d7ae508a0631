"""What is seen of a segment from outside, while others change it and after they died."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any

import pytest

from shardq.drivers import SharedStorage
from shardq.errors import StorageClosed
from shardq.shm import counters as module
from shardq.shm import words as at
from shardq.shm.store import Store
from shardq.shm.verbs.inspection import Inspection
from tests.support.drivers import MIB


def test_letters_that_come_and_go_meanwhile_never_make_less_than_none(store: Store) -> None:
    words = store.segment.words

    def bury_and_drop(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != module.__file__:
            return None
        words[at.BURIED] += 1
        words[at.UNBURIED] += 1
        return bury_and_drop

    inspection = store.inspection
    sys.settrace(bury_and_drop)
    try:
        seen = inspection.overview()
    finally:
        sys.settrace(None)

    assert seen.dead >= 0


def test_a_storage_that_another_thread_closes_meanwhile_is_closed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = SharedStorage.create(name, MIB)
    monkeypatch.setattr(Inspection, "stand", lambda its: storage.detach())

    for look in (storage.overview, storage.workers):
        with pytest.raises(StorageClosed):
            look()


def test_a_living_supervisor_is_named(store: Store) -> None:
    assert store.supervision.become_supervisor()

    assert store.inspection.overview().supervisor_pid == os.getpid()


def test_a_stranger_with_the_pid_of_a_dead_supervisor_is_not_taken_for_it(store: Store) -> None:
    words, slot = store.segment.words, store.slot + 1
    word = store.segment.layout.slot_word(slot)
    words[at.SUPERVISOR_SLOT] = slot + 1
    words[at.SUPERVISOR_PID] = words[word + at.SLOT_PID] = os.getppid()
    words[word + at.SLOT_START_TICKS] = 1

    assert store.inspection.overview().supervisor_pid is None
