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
from tests.support.chance import SEED
from tests.support.engines import needs_c
from tests.support.programs import ROOT

pytestmark = needs_c


@pytest.mark.timeout(1800)
def test_a_damaged_segment_is_left_to_python(tried: Callable[[str, int], None]) -> None:
    count = DAMAGED
    program = (sys.executable, "-X", "faulthandler", "-m", fuzz.__name__, os.environ[SEED], str(count))
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    *seeds, last = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, ""), f"seed {last}"
    outcomes = json.loads(last)
    assert len(seeds) == count
    assert outcomes["SegmentForeign"] > 0
    assert outcomes["by the core"] > count
    tried("damaged segments under the core", count)
