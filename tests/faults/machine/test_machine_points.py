"""A process is killed after machine instructions of the core in C; the others, in Python, find everything whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.faults.machine.operations import BY_THE_CORE
from tests.faults.machine.stepping import why_not
from tests.faults.machine.trials import cut_off, every, some_changes
from tests.support.chance import sample_of_run
from tests.support.engines import needs_c
from tests.support.lean import LeanProcess

pytestmark = [needs_c, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.mark.parametrize("name", sample_of_run([*BY_THE_CORE], len(BY_THE_CORE) // 2))
@pytest.mark.timeout(3600)
def test_death_after_any_instruction_leaves_all_or_nothing(
    name: str,
    random: Random,
    everything: bool,
    tried: Callable[[str, int], None],
    lean: LeanProcess,
    tmp_path: Path,
) -> None:
    """In half of the operations a sample dies, where that changes something. `SHARDQ_FAULTS=all`: in each operation,
    after each instruction.
    """
    count, failed, _ = lean.call(cut_off, name, every if everything else some_changes, random, tmp_path)
    tried("instructions killed at", count)
    assert not failed, f"{len(failed)} of {count} deaths\n" + "\n".join(failed)
