"""The page on performance and the table in the README say what the results file says."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.harness.results import PUBLISHED, Results, read, written
from bench.harness.rounds import Runs
from bench.harness.scenario import Kind
from bench.harness.summary import summaries
from bench.registry import SCENARIOS
from bench.report.documents import CHARTS, PAGE, README, documents
from bench.report.readme import BEGIN, END, replaced


@pytest.fixture(scope="module")
def published() -> Results:
    return read(PUBLISHED)


def test_page_charts_and_table_are_what_the_results_file_makes(published: Results) -> None:
    stale = [
        str(path)
        for path, text in documents(published).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "make them anew with scripts/bench --report"


def test_the_page_shows_every_scenario_that_was_measured(published: Results) -> None:
    measured = {
        name: {
            contestant.name: [{figure.name: place + 1.0 for figure in scenario.figures}]
            for place, contestant in enumerate(scenario.contestants)
        }
        for name, scenario in SCENARIOS.items()
    }
    made = documents(published._replace(scenarios=measured))
    shown = re.findall(r"^### (.*)$", made[PAGE], re.MULTILINE)
    assert shown == list(SCENARIOS)
    assert {path.stem for path in made if path.suffix == ".svg"} == SCENARIOS.keys()


def test_the_table_in_the_readme_has_a_row_only_for_what_was_measured(published: Results) -> None:
    figures = {"kills": 40.0, "lost": 0.0, "late": 0.0, "again": 200.0}
    lost: Runs = {"shardq": [figures], "multiprocessing.Queue": [{**figures, "kills": 9.0, "lost": 1234.0}]}
    with_kills = documents(published._replace(scenarios={"kills": lost}))[README]
    assert "| 40 / 0 / 0 | 9 / 1,234 / 0 | - |" in with_kills
    without = {name: runs for name, runs in published.scenarios.items() if name != "kills"}
    assert "under load" not in documents(published._replace(scenarios=without))[README]


def test_charts_are_well_formed_and_say_what_they_show(published: Results) -> None:
    for path, text in documents(published).items():
        if path.suffix == ".svg":
            drawn = ElementTree.fromstring(text)
            named = drawn.find("{http://www.w3.org/2000/svg}desc")
            assert named is not None
            assert named.text in PAGE.read_text(encoding="utf-8")


def test_there_is_no_chart_that_the_page_does_not_show() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert {path.name for path in CHARTS.iterdir()} == set(re.findall(rf"\({CHARTS.name}/([^)]+)\)", page))


def test_the_page_names_every_rival_that_is_better_before_it_shows_a_scenario(published: Results) -> None:
    first, _, _ = PAGE.read_text(encoding="utf-8").partition("## Where shardq is faster")
    assert "## Where shardq is slower" in first
    better = [
        (name, each.contestant.name)
        for name, runs in published.scenarios.items()
        for each in summaries(SCENARIOS[name], runs)
        if each.slower
    ]
    rows = first.splitlines()
    assert [pair for pair in better if not any(f"`{pair[0]}`" in row and pair[1] in row for row in rows)] == []


def test_the_results_file_says_where_it_comes_from(published: Results) -> None:
    assert published.taken.keys() >= {"time", "command", "commit", "size", "rounds", "load"}
    assert published.machine.keys() >= {"processor", "cores", "memory_gib", "system"}
    assert published.scenarios.keys() <= SCENARIOS.keys(), "renew the results: scripts/bench --renew"


def test_a_change_of_one_figure_changes_the_page(published: Results) -> None:
    name, runs = next(iter(published.scenarios.items()))
    tripled = {
        contestant: [figures and {figure: 3 * value for figure, value in figures.items()} for figures in own]
        for contestant, own in runs.items()
    }
    changed = documents(published._replace(scenarios={**published.scenarios, name: tripled}))
    kept = documents(published)
    assert {path for path in kept if changed[path] != kept[path]} >= {PAGE, CHARTS / f"{name}.svg"}


def test_the_page_and_the_readme_say_what_failed(published: Results) -> None:
    name, runs = next(iter(published.scenarios.items()))
    first, second, *_ = runs
    figures = next(filter(None, runs[first]))
    made = documents(published._replace(scenarios={name: {first: [None, figures], second: [None, None]}}))
    assert f"{first} failed in 1 of 2 rounds" in made[PAGE]
    assert f"| {second} |" not in made[PAGE]
    assert f"{second} failed in 2 rounds" in made[PAGE]
    assert "failed in a round or in all, for the page to name: 2." in made[README]


def test_a_scenario_in_which_all_failed_has_its_place_on_the_page_without_a_chart(published: Results) -> None:
    name, runs = next(iter(published.scenarios.items()))
    made = documents(published._replace(scenarios={name: {each: [None] for each in runs}}))
    assert f"### {name}" in made[PAGE]
    assert made.keys() == {PAGE, README}


@pytest.mark.parametrize(("load", "said"), [(0.2, False), (9.0, True)])
def test_page_and_readme_say_whether_the_machine_had_other_work(published: Results, load: float, said: bool) -> None:
    made = documents(published._replace(taken={**published.taken, "load": load}))
    assert ["he machine had other work" in made[path] for path in (PAGE, README)] == [said, said]


def test_a_results_file_is_read_as_it_was_written(published: Results, tmp_path: Path) -> None:
    written(published, tmp_path / "results.json")
    assert read(tmp_path / "results.json") == published


def test_a_results_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text('{"format": 0}', encoding="utf-8")
    with pytest.raises(ValueError, match="take it anew"):
        read(path)


def test_every_scenario_begins_with_shardq_and_compares_with_it() -> None:
    for scenario in SCENARIOS.values():
        own = {contestant.name for contestant in scenario.contestants if contestant.kind is Kind.SHARDQ}
        assert scenario.contestants[0].name in own, scenario.name
        assert {contestant.against for contestant in scenario.contestants} - {None} <= own, scenario.name


def test_a_readme_without_the_markers_is_refused() -> None:
    assert replaced(f"above\n{BEGIN}\nold\n{END}\nbelow", "new") == f"above\n{BEGIN}\nnew\n{END}\nbelow"
    with pytest.raises(ValueError, match="put"):
        replaced("above\nbelow", "new")
