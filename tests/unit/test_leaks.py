"""What counts as left behind by a test, where others use shardq on the same machine."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil
import pytest

from shardq.shm.names import full_name
from tests.support.leaks import PLACES, SEGMENTS, _may_be_of_this_run, leaked_files, stray_files
from tests.support.segments import NewSegment, files_of, new_name


def test_every_file_of_a_segment_that_stays_is_a_leak(new_segment: NewSegment) -> None:
    before = stray_files()
    segment = new_segment()
    assert {path.name for path in leaked_files(before)} == files_of(segment.name) != set()


@pytest.mark.parametrize("name", [new_name, lambda: f"private-{os.getpid()}-0a1b2c3d"], ids=["named", "private"])
def test_what_this_run_names_is_its_own(name: Callable[[], str]) -> None:
    assert _may_be_of_this_run(f"sem.{full_name(name())}", SEGMENTS)


@pytest.mark.parametrize("name", ["t" + 12 * "f", "application", f"private-{psutil.Process().ppid()}-0a1b2c3d"])
def test_what_others_name_is_theirs(name: str) -> None:
    assert not _may_be_of_this_run(full_name(name), SEGMENTS)


def test_elsewhere_no_name_tells() -> None:
    assert [_may_be_of_this_run("shardq-anything", place) for place in PLACES] == [False, True]
