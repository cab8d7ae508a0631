"""What is tried with which operation: all of it with `SHARDQ_FAULTS=all`, else what the seed draws.

A run has a process die in each operation. Of what may become of a process besides, it tries one with each operation,
and so each of these with a third of all operations.
"""

from __future__ import annotations

from enum import Enum

from tests.faults.kit.case import Operation
from tests.faults.kit.operations import OPERATIONS
from tests.support.chance import EVERYTHING, sample_of_run


class Blow(Enum):
    """What befalls a process in an operation."""

    EXCEPTION = "it is thrown out"
    STOP = "it is stopped"
    DEATH_OF_THE_REPAIRER = "it dies, and so does the process that mends"


def operations_with(blow: Blow) -> list[Operation]:
    """Those with which this run tries it. The same in each process that runs tests."""
    if EVERYTHING:
        return list(OPERATIONS)
    order = sample_of_run(OPERATIONS, len(OPERATIONS))
    drawn = set(order[list(Blow).index(blow) :: len(Blow)])
    return [operation for operation in OPERATIONS if operation in drawn]
