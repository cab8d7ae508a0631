"""Equal requests are equal in every process, whatever order its sets and dicts happen to be in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from shardq.drivers import SharedStorage
from tests.support.drivers import MIB
from tests.support.leaks import segment_name
from tests.support.order_peer import HANDLERS
from tests.support.programs import ROOT
from tests.support.tasks import LIMIT_S

SEEDS = ("1", "22", "333")


@pytest.fixture
def own_url() -> Iterator[str]:
    storage = SharedStorage.create(segment_name(), capacity_bytes=4 * MIB)
    yield f"shm://{storage.name}"
    storage.destroy()


def told(url: str, verb: str, seed: str) -> dict[str, int]:
    """What a process of its own did, by handler."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.support.order_peer", url, verb],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    done: dict[str, int] = json.loads(ran.stdout)
    return done


def each(number: int) -> dict[str, int]:
    return {handler.__name__: number for handler in HANDLERS}


def test_three_processes_have_one_accepted_between_them(own_url: str) -> None:
    assert [told(own_url, "absent", seed) for seed in SEEDS] == [each(1), each(0), each(0)]


def test_what_was_registered_plainly_is_found_by_others(own_url: str) -> None:
    assert told(own_url, "plain", SEEDS[0]) == each(1)

    assert told(own_url, "absent", SEEDS[1]) == each(0)
    assert told(own_url, "cancel", SEEDS[2]) == each(1)


def test_a_schedule_is_one_and_is_ended_from_anywhere(own_url: str) -> None:
    for seed in SEEDS[:2]:
        told(own_url, "recurrent", seed)

    assert told(own_url, "unschedule", SEEDS[2]) == each(1)
    assert told(own_url, "unschedule", SEEDS[0]) == each(0)
