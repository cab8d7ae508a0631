"""Whatever another program writes into a segment, the core in C stays in the mapping, and leaves errors to Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.faults.conftest import DAMAGED
from tests.faults.machine import fuzz
from tests.support.chance import EVERYTHING, SEED
from tests.support.engines import needs_c
from tests.support.programs import ROOT

pytestmark = needs_c

#: Appends while another process writes. Of a core that believes what it reads again, a few thousand tell.
CHANGED = 100_000 if EVERYTHING else 5_000


@pytest.mark.timeout(1800)
def test_a_damaged_segment_is_left_to_python(tried: Callable[[str, int], None]) -> None:
    count = DAMAGED
    *seeds, last = fuzzed(os.environ[SEED], count)
    outcomes = json.loads(last)
    assert len(seeds) == count
    assert outcomes["SegmentForeign"] > 0
    assert outcomes["by the core"] > count
    tried("damaged segments under the core", count)


@pytest.mark.timeout(1800)
def test_what_changes_under_a_section_leads_it_nowhere_beyond_the_segment(
    tried: Callable[[str, int], None],
) -> None:
    [done] = fuzzed("beside", CHANGED)
    assert 0 < int(done) <= 2 * CHANGED
    tried("appends of the core beside a process that writes into its segment", int(done))


def fuzzed(*arguments: object) -> list[str]:
    """What the program of this test says, which must come to its end."""
    program = (sys.executable, "-X", "faulthandler", "-m", fuzz.__name__, *map(str, arguments))
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, ""), f"after {said[-1:]}: {done.stderr}"
    return said
