"""Processes that are in the core in C at once keep out of each other's way, whichever goes on, waits, or dies where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.faults.machine.contest import contests
from tests.faults.machine.stepping import why_not
from tests.support.engines import needs_c
from tests.support.lean import LeanProcess

pytestmark = [needs_c, pytest.mark.skipif(bool(why_not()), reason=why_not())]

#: Contests, in each of which three processes make twelve calls.
SAMPLE, ALL = 3, 300


@pytest.mark.timeout(600)
def test_each_order_of_instructions_leaves_calls_whole(
    random: Random, everything: bool, tried: Callable[[str, int], None], lean: LeanProcess, tmp_path: Path
) -> None:
    seeds = random.sample(range(1 << 32), ALL if everything else SAMPLE)
    assert lean.call(contests, seeds, tmp_path) == []
    tried("orders of instructions", len(seeds))
