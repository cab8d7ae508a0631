"""Round after round, in each of which every contestant of every scenario has one turn."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

from bench.harness.contestant import ContestantFailed, Figures, figures_of
from bench.harness.scenario import Contestant, Scenario
from bench.harness.size import Size

#: Figures by contestant, one entry a round: None where it failed in that round.
Runs = dict[str, list[Figures | None]]


def rounds(
    scenarios: Sequence[Scenario], count: int, size: Size, limit_s: float = float("inf")
) -> Iterator[dict[str, Runs]]:
    """After each round the figures of all rounds so far, by scenario. Contestants of a scenario follow one another:
    what the machine does meanwhile hits all alike. There is one round at least; no further one is begun that would end
    after `limit_s` seconds if it took as long as the longest before. A contestant that fails in a round, which is said
    on standard error, takes part in the next ones all the same.
    """
    found: dict[str, Runs] = {scenario.name: {each.name: [] for each in _there(scenario)} for scenario in scenarios}
    begin, longest_s = time.monotonic(), 0.0
    for number in range(1, count + 1):
        start = time.monotonic()
        if longest_s and start - begin + longest_s > limit_s:
            return
        for scenario in scenarios:
            _round(scenario, found[scenario.name], size, f"{number} of {count}")
        longest_s = max(longest_s, time.monotonic() - start)
        yield found


def _there(scenario: Scenario) -> Iterator[Contestant]:
    """Those that can take part."""
    for contestant in scenario.contestants:
        if not contestant.missing:
            yield contestant
        else:
            print(f"{scenario.name}: without {contestant.name}, which needs {contestant.needs}", file=sys.stderr)


def _round(scenario: Scenario, runs: Runs, size: Size, which: str) -> None:
    for name, own in runs.items():
        start = time.monotonic()
        try:
            own.append(figures_of(scenario.named(name), size))
        except ContestantFailed as failed:
            own.append(None)
            print(f"{scenario.name}, {which}: {name} FAILED: {failed}", file=sys.stderr)
        else:
            print(f"{scenario.name}, {which}: {name}, {time.monotonic() - start:.1f} s", file=sys.stderr)
