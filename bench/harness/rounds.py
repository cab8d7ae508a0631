"""All contestants of a scenario in turn, round after round."""

from __future__ import annotations

import sys
import time

from bench.harness.contestant import Figures, figures_of
from bench.harness.scenario import Scenario
from bench.harness.size import Size

#: Figures by contestant, one entry a round.
Runs = dict[str, list[Figures]]


def measured(scenario: Scenario, count: int, size: Size) -> Runs:
    """So many rounds. In each of them every contestant has one turn: what the machine does meanwhile hits all alike."""
    there = [contestant for contestant in scenario.contestants if not contestant.missing]
    for contestant in scenario.contestants:
        if contestant.missing:
            print(f"{scenario.name}: without {contestant.name}, which needs {contestant.needs}", file=sys.stderr)
    runs: Runs = {contestant.name: [] for contestant in there}
    for number in range(1, count + 1):
        for contestant in there:
            start = time.monotonic()
            runs[contestant.name].append(figures_of(contestant, size))
            seconds = time.monotonic() - start
            print(f"{scenario.name}, {number} of {count}: {contestant.name}, {seconds:.1f} s", file=sys.stderr)
    return runs
