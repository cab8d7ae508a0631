"""Whatever another program writes into a segment: errors of shardq, in time, and never from inside the guard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.faults.kit import damage
from tests.support.chance import SEED
from tests.support.programs import ROOT

#: Segments of one process, and those that were once taken for whole, or led round in circles.
COUNT = 25
FIXED = (0, 1340, 2135)


@pytest.mark.parametrize("first", [*FIXED, None], ids=[*map(str, FIXED), "by chance"])
@pytest.mark.timeout(600)
def test_a_damaged_segment_is_said_to_be_one_by_whatever_reads_it(
    first: int | None, tried: Callable[[str, int], None]
) -> None:
    first = 10_000 + int(os.environ[SEED]) if first is None else first
    program = (sys.executable, "-X", "faulthandler", "-m", damage.__name__, str(first), str(COUNT))
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    outcomes = json.loads(done.stdout)
    assert outcomes["SegmentForeign"] > 0
    assert outcomes["worked"] > outcomes["SegmentForeign"], "what is not damaged can still be used"
    tried("damaged segments", COUNT)
