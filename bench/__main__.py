"""`scripts/bench [SCENARIO ...]`, or `python -m bench` in an environment with the extra `bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.harness.results import PUBLISHED, read, with_figures, without_figures, written
from bench.harness.rounds import Runs, rounds
from bench.harness.size import FULL, QUICK, SIZES
from bench.harness.summary import failures
from bench.harness.table import lines
from bench.registry import SCENARIOS
from bench.report.documents import CHARTS, documents

_ROUNDS = 5
_MINUTES = 15


def main() -> None:
    arguments = _arguments()
    if arguments.list:
        _list()
        return
    found = {} if arguments.report else _measure(arguments, PUBLISHED if arguments.renew else arguments.json)
    if arguments.renew or arguments.report:
        _report(PUBLISHED)
    if any(map(failures, found.values())):
        sys.exit("some contestants failed: see above")


def _list() -> None:
    for scenario in SCENARIOS.values():
        print(f"{scenario.name:20}{scenario.title}")


def _measure(arguments: argparse.Namespace, path: Path | None) -> dict[str, Runs]:
    """What all rounds gave."""
    count = arguments.runs or (1 if arguments.quick else _ROUNDS)
    size = QUICK if arguments.quick else SIZES[arguments.size]
    scenarios = [SCENARIOS[name] for name in arguments.scenarios or SCENARIOS]
    found: dict[str, Runs] = {}
    results = without_figures(size)
    for number, found in enumerate(rounds(scenarios, count, size, 60 * arguments.minutes), start=1):
        if path is not None:  # after each, so that a run that is cut off has not been for nothing
            written(with_figures(results, found, number), path)
    for scenario in scenarios:
        print("\n".join(lines(scenario, found[scenario.name])), end="\n\n")
    return found


def _report(path: Path) -> None:
    found = documents(read(path))
    CHARTS.mkdir(exist_ok=True)
    for chart in set(CHARTS.iterdir()) - found.keys():
        chart.unlink()
    for document, text in found.items():
        document.write_text(text, encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="What shardq costs, beside rivals and floors.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="which to measure; default: all of them")
    parser.add_argument("--list", action="store_true", help="name all scenarios, and measure nothing")
    parser.add_argument("--runs", type=int, metavar="N", help=f"rounds of each scenario; default: {_ROUNDS}")
    until = f"begin no round that would end after so many; default: {_MINUTES}"
    parser.add_argument("--minutes", type=float, default=_MINUTES, metavar="M", help=until)
    parser.add_argument("--quick", action="store_true", help="one round of an eighth: all scenarios in three minutes")
    parser.add_argument("--size", choices=SIZES, default=FULL.name, help="how much each does")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures of each round in a results file")
    parser.add_argument("--report", action="store_true", help="write the page on performance anew, and measure nothing")
    parser.add_argument(
        "--renew", action="store_true", help="measure all scenarios, then write the page on performance"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; see --list")
    if arguments.runs is not None and arguments.runs < 1:
        parser.error("--runs must be 1 or more")
    if arguments.renew and (arguments.scenarios or arguments.json):
        parser.error("--renew measures all scenarios, and stores them in the file that the page comes from")
    return arguments


if __name__ == "__main__":
    main()
