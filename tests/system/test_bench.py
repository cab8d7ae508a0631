"""The benchmarks work: what is measured is not looked at here, only that it can be."""

from __future__ import annotations

import inspect
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from bench.__main__ import main
from bench.harness import contestant as harness
from bench.harness.contestant import ContestantFailed, Figures, figures_of
from bench.harness.rounds import rounds
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import SMALLEST
from bench.registry import SCENARIOS
from tests.support import hanging, python
from tests.support.chance import sample_of_run
from tests.support.programs import ROOT

CONTESTANTS = [(scenario, contestant) for scenario in SCENARIOS.values() for contestant in scenario.contestants]


def way(scenario: Scenario, contestant: Contestant) -> tuple[object, ...]:
    """What it does, and what it tells, whatever the numbers are that it does it with, as of workers."""
    chosen = (name if type(value) in (int, float) else (name, value) for name, value in contestant.arguments.items())
    return contestant.function, *chosen, *(figure.name for figure in scenario.figures)


#: Of those that go the same way, the first.
FUNCTIONS = list({way(scenario, each): (scenario, each) for scenario, each in CONTESTANTS[::-1]}.values())


def cases(chosen: Sequence[tuple[Scenario, Contestant]]) -> list[Any]:
    """Where a scenario has a rival that is not installed, the others take part all the same."""
    return [pytest.param(scenario, each, id=f"{scenario.name}, {each.name}") for scenario, each in chosen]


def of_this_run() -> list[tuple[Scenario, Contestant]]:
    """One way of each scenario, drawn by the seed, or with `SHARDQ_FAULTS=all` each."""
    ways = [[way for way in FUNCTIONS if way[0] is scenario] for scenario in SCENARIOS.values()]
    return [drawn for its in ways for drawn in sample_of_run(its, 1)]


@pytest.mark.parametrize(("scenario", "contestant"), cases(of_this_run()))
def test_each_way_of_a_scenario_returns_its_figures(scenario: Scenario, contestant: Contestant) -> None:
    if contestant.missing:
        pytest.skip(f"{contestant.name} needs {contestant.needs}")
    figures = _figures_of(contestant)
    assert figures.keys() == {figure.name for figure in scenario.figures}
    assert all(math.isfinite(value) and value >= 0 for value in figures.values())


def test_each_contestant_has_what_its_function_takes() -> None:
    for _, contestant in CONTESTANTS:
        if not contestant.missing:
            inspect.signature(resolve_name(contestant.function)).bind(SMALLEST, **contestant.arguments)


def _figures_of(contestant: Contestant) -> Figures:
    """Those of a contestant that runs as `figures_of` runs it, and starts quicker."""
    module, arguments = harness.__name__, (contestant.function, SMALLEST.name, json.dumps(contestant.arguments))
    done = python.run((sys.executable, "-m", module, *arguments), cwd=ROOT, stdout=subprocess.PIPE, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def test_the_list_names_every_scenario() -> None:
    listed = _ran("--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(SCENARIOS)


def test_a_scenario_that_does_not_exist_is_refused() -> None:
    refused = _ran("no-such", check=False)
    assert refused.returncode == 2
    assert "no such scenario: no-such" in refused.stderr


def test_the_figures_of_each_round_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    printed = _ran("import", "--size", "smallest", "--runs", "2", "--json", str(path)).stdout
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert {name: len(runs) for name, runs in stored["scenarios"]["import"].items()} == {
        contestant.name: 2 for contestant in SCENARIOS["import"].contestants
    }
    assert all(contestant.name in printed for contestant in SCENARIOS["import"].contestants)
    assert (stored["taken"]["size"], stored["taken"]["rounds"]) == ("smallest", 2)


def test_a_contestant_whose_package_is_missing_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    here = SCENARIOS["import"].contestants[-1]
    absent = Contestant("absent", here.function, kind=Kind.RIVAL, needs="no_such_package")
    scenario = Scenario("made-up", "", (Figure("start_ms", "", "ms"),), (here, absent), "")
    [found] = rounds([scenario], 1, SMALLEST)
    assert list(found["made-up"]) == [here.name]
    assert "without absent, which needs no_such_package" in capfd.readouterr().err


def test_contestants_take_turns_and_no_round_begins_when_time_is_up() -> None:
    scenario = SCENARIOS["import"]
    lengths = [
        {name: len(own) for name, own in found[scenario.name].items()}
        for found in rounds([scenario], 2, SMALLEST, limit_s=1e-9)
    ]
    assert lengths == [{contestant.name: 1 for contestant in scenario.contestants}]


#: It takes no `Size`.
BROKEN = Contestant("broken", "bench.load.percentiles:percentiles_us")


def test_a_contestant_that_fails_is_named_and_the_run_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    here = SCENARIOS["import"].contestants[-1]
    scenario = Scenario("made-up", "", (Figure("start_ms", "", "ms"),), (BROKEN, here), "")
    *_, found = rounds([scenario], 2, SMALLEST)
    assert found["made-up"]["broken"] == [None, None]
    assert None not in found["made-up"][here.name]
    said = capfd.readouterr().err
    assert "made-up, 2 of 2: broken FAILED" in said
    assert "TypeError" in said


def test_a_contestant_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    path = tmp_path / "held"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(ContestantFailed, match="not done after 3 seconds"):
            figures_of(Contestant("hanging", "tests.support.hanging:hang", {"fifo": str(path)}), SMALLEST, limit_s=3.0)
        assert os.read(reading, 100) == hanging.BEGUN
        os.set_blocking(reading, True)
        assert os.read(reading, 100) == b""  # once neither it nor its child has the other end
    finally:
        os.close(reading)


def test_a_run_in_which_a_contestant_failed_says_so_at_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SCENARIOS, "made-up", Scenario("made-up", "", (Figure("start_ms", "", "ms"),), (BROKEN,), ""))
    monkeypatch.setattr(sys, "argv", ["bench", "made-up", "--size", "smallest", "--runs", "1"])
    with pytest.raises(SystemExit, match="some contestants failed"):
        main()
    assert "broken failed in 1 round" in capsys.readouterr().out


def _ran(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "bench", *arguments)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=check)
