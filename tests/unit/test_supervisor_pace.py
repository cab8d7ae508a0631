"""How soon what died is started again: workers by their supervisor, a supervisor by the application that embeds it."""

from __future__ import annotations

from itertools import accumulate

from shardq.keeper import restart_pause_s
from shardq.supervisor.pace import Pace


def test_the_first_is_replaced_at_once_and_each_further_one_later() -> None:
    pace = Pace(0.1)
    assert [pace.delay_s(second) for second in range(6)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6]


def test_no_replacement_waits_for_more_than_half_a_minute() -> None:
    pace = Pace(1.0)
    assert [pace.delay_s(0.0) for _ in range(9)][5:] == [16.0, 30.0, 30.0, 30.0]


def test_deaths_of_more_than_a_minute_ago_are_forgotten() -> None:
    pace = Pace(0.1)
    assert [pace.delay_s(now) for now in (0.0, 59.0, 60.0, 120.0)] == [0.0, 0.1, 0.1, 0.0]


def test_the_pause_before_a_restart_doubles_while_lives_are_short() -> None:
    pauses = list(accumulate([0.0] * 11, restart_pause_s))[1:]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]


def test_after_a_life_of_a_minute_the_pauses_begin_anew() -> None:
    assert restart_pause_s(30.0, 59.0) == 30.0
    assert restart_pause_s(30.0, 60.0) == 0.1
