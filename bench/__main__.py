"""`python -m bench [SCENARIO ...] [--runs N] [--json]`"""

from __future__ import annotations

import argparse
import json
import sys

from bench.contestant import figures_of
from bench.report import Runs, summaries, surroundings, table
from bench.scenarios import SCENARIOS, Scenario
from shardq.system.cores import usable_cores


def main() -> None:
    arguments = _arguments()
    around = {**surroundings(), "cores": usable_cores(), "runs": arguments.runs}
    results = {name: _run(name, SCENARIOS[name], arguments.runs) for name in arguments.scenarios or SCENARIOS}
    if arguments.json:
        found = {name: [summary._asdict() for summary in summaries(runs)] for name, runs in results.items()}
        print(json.dumps({"surroundings": around, "summaries": found, "runs": results}, indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in around.items()))
    for name, runs in results.items():
        print()
        for line in table(f"{name}: {SCENARIOS[name].title}", summaries(runs), SCENARIOS[name].show):
            print(line)


def _run(name: str, scenario: Scenario, count: int) -> Runs:
    """All contestants in turn, as often as asked: what the machine does meanwhile hits all of them alike."""
    runs: Runs = {contestant.name: [] for contestant in scenario.contestants}
    for number in range(1, count + 1):
        for contestant in scenario.contestants:
            print(f"{name}, run {number} of {count}: {contestant.name}", file=sys.stderr)
            runs[contestant.name].append(figures_of(contestant.function))
    return runs


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="What shardq costs, beside a rival and a floor."
    )
    parser.add_argument(
        "scenarios", nargs="*", metavar="scenario", help=f"of {', '.join(SCENARIOS)}; all of them where none is given"
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each scenario (default: 5)")
    parser.add_argument("--json", action="store_true", help="print figures of every run as JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if arguments.runs < 1:
        parser.error("--runs must be 1 or more")
    return arguments


if __name__ == "__main__":
    main()
