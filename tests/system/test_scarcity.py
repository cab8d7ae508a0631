"""What was accepted gets through with the memory that the segment has, however little /dev/shm has."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import scarcity
from tests.support.chance import sample_of_run
from tests.support.programs import ROOT
from tests.system.test_capacity import OWN_SHM, why_no_mounts


def run(size: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if why_no_mounts():
        pytest.skip(f"no mount namespace here: {why_no_mounts()}")
    program = (sys.executable, "-m", scarcity.__name__, *arguments)
    return subprocess.run((*OWN_SHM, size, *program), cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("part", sample_of_run([*scarcity.PARTS], 3))
def test_what_was_accepted_gets_through_where_dev_shm_is_smaller_than_the_capacity(part: str) -> None:
    done = run("12m" if part.startswith("large") else "8m", part)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert min(json.loads(done.stdout).values()) >= 1


def test_a_dev_shm_without_room_for_the_reserve_is_refused() -> None:
    done = run("4m", "deferred")
    assert done.returncode == 1
    assert "SegmentNoRoom: /dev/shm has" in done.stderr
    assert "docker run --shm-size" in done.stderr
