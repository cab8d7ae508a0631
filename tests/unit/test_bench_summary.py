"""Medians, spreads and ratios of the benchmarks."""

from __future__ import annotations

import pytest

from bench.harness.rounds import Runs
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import FULL, Size
from bench.harness.summary import Summary, failures, shown, summaries
from bench.harness.table import lines

RATE = Figure("rate", "rate", "requests/s")
DELAY = Figure("delay", "delay", "us", less_is_better=True)


def summary_of(rival: float, figure: Figure = RATE, *, kind: Kind = Kind.RIVAL) -> Summary:
    """Of a rival with this figure beside a shardq with 100."""
    contestants = (Contestant("shardq", ""), Contestant("other", "", kind=kind))
    scenario = Scenario("made-up", "", (figure,), contestants, "")
    _, found = summaries(scenario, {"shardq": [{figure.name: 100.0}], "other": [{figure.name: rival}]})
    return found


def test_the_median_and_the_spread_are_over_the_rounds() -> None:
    scenario = Scenario("made-up", "", (RATE,), (Contestant("shardq", ""),), "")
    [found] = summaries(scenario, {"shardq": [{"rate": value} for value in (3.0, 1.0, 8.0)]})
    assert (found.median, found.low, found.high, found.ratio) == (3.0, 1.0, 8.0, None)


def test_the_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    contestants = (Contestant("shardq", ""), Contestant("other", "", kind=Kind.RIVAL))
    rates = {"shardq": (10.0, 20.0, 90.0), "other": (20.0, 10.0, 10.0)}
    _, found = summaries(
        Scenario("made-up", "", (RATE,), contestants, ""),
        {name: [{"rate": value} for value in values] for name, values in rates.items()},
    )
    assert found.ratio == 2.0


def test_a_contestant_is_compared_with_the_one_it_names() -> None:
    contestants = (
        Contestant("one worker", ""),
        Contestant("two workers", ""),
        Contestant("two consumers", "", kind=Kind.RIVAL, against="two workers"),
    )
    rates = {"one worker": 10.0, "two workers": 30.0, "two consumers": 60.0}
    found = summaries(
        Scenario("made-up", "", (RATE,), contestants, ""), {name: [{"rate": rate}] for name, rate in rates.items()}
    )
    assert [each.ratio for each in found] == [None, 10 / 30, 0.5]
    assert found[2].subject == "two workers"


@pytest.mark.parametrize(
    ("rival", "figure", "slower"), [(200, RATE, True), (50, RATE, False), (200, DELAY, False), (50, DELAY, True)]
)
def test_shardq_is_slower_where_the_rival_has_the_better_figure(rival: float, figure: Figure, slower: bool) -> None:
    found = summary_of(rival, figure)
    assert found.slower is slower
    assert (found.advantage < 1) is slower


def test_shardq_is_not_called_slower_than_a_floor() -> None:
    assert not summary_of(200, kind=Kind.FLOOR).slower


def test_there_is_no_ratio_to_nothing() -> None:
    assert summary_of(0).ratio is None


#: Two contestants, and what each gave in three rounds.
PAIR = Scenario("made-up", "", (RATE,), (Contestant("shardq", ""), Contestant("other", "", kind=Kind.RIVAL)), "")
FAILED_ONCE: Runs = {
    "shardq": [{"rate": 10.0}, {"rate": 20.0}, {"rate": 90.0}],
    "other": [None, {"rate": 10.0}, {"rate": 30.0}],
}


def test_a_failed_round_counts_neither_in_the_median_nor_in_the_ratio() -> None:
    _, found = summaries(PAIR, FAILED_ONCE)
    assert (found.median, found.low, found.high, found.ratio) == (20.0, 10.0, 30.0, 2.5)
    assert failures(FAILED_ONCE) == ["other failed in 1 of 3 rounds: its figures are those of the other 2."]


def test_a_contestant_that_failed_in_all_rounds_has_no_figures_and_is_named() -> None:
    runs: Runs = {"shardq": [None], "other": [{"rate": 10.0}]}
    assert [(each.contestant.name, each.ratio) for each in summaries(PAIR, runs)] == [("other", None)]
    assert failures(runs) == ["shardq failed in 1 round, which is all there were: it has no figures."]
    assert summaries(PAIR, {"shardq": [None], "other": [None]}) == []


def test_the_printed_table_names_what_failed() -> None:
    assert "other failed in 1 of 3 rounds" in "\n".join(lines(PAIR, FAILED_ONCE))


def test_a_share_of_a_count_is_a_multiple_and_never_nothing() -> None:
    assert FULL.count(1000, 128) == 1024
    assert Size("tenth", 0.1).count(1280, 128) == 128
    assert Size("tiny", 0.0001).count(1280, 128) == 128


@pytest.mark.parametrize(
    ("value", "whole", "text"),
    [(0, True, "0"), (40, True, "40"), (0, False, "0.00"), (40, False, "40.0"), (1234, False, "1,234")],
)
def test_things_that_are_counted_have_no_decimals(value: float, whole: bool, text: str) -> None:
    assert shown(value, RATE._replace(whole=whole)) == text
