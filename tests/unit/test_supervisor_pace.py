"""How soon what died is started again: workers by their supervisor, a supervisor by the application that embeds it."""

from __future__ import annotations

from itertools import accumulate

from shardq.serving.keeper import restart_pause_s
from shardq.supervisor.workers.pace import Pace, Vacancies


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


# Vacancies


def test_the_first_two_deaths_leave_one_place_that_rests() -> None:
    vacancies = Vacancies(5.0)

    assert vacancies.add(100.0, attached=True, alone=False) == 0.0
    assert vacancies.to_start(100.0, 3, 4) == 1
    vacancies.filled(4, 4)
    assert vacancies.add(101.0, attached=True, alone=False) == 5.0
    assert vacancies.to_start(101.0, 3, 4) == 0
    assert vacancies.next_at(3, 4) == 106.0
    assert vacancies.to_start(106.0, 3, 4) == 1


def test_a_place_that_rests_holds_up_no_other() -> None:
    vacancies = Vacancies(5.0)
    for _ in range(2):
        vacancies.add(100.0, attached=True, alone=False)

    # Another one died, with a batch in hand: no process notes that here.
    assert vacancies.to_start(100.1, 2, 4) == 1
    vacancies.filled(3, 4)
    assert vacancies.to_start(100.1, 3, 4) == 0


def test_more_workers_than_before_start_at_once() -> None:
    vacancies = Vacancies(5.0)
    for _ in range(2):
        vacancies.add(100.0, attached=True, alone=False)
    assert vacancies.to_start(100.1, 1, 4) == 2


def test_where_none_is_left_one_starts_at_once() -> None:
    vacancies = Vacancies(5.0)
    for have in (1, 0):
        vacancies.add(100.0, attached=True, alone=have == 0)
        vacancies.add(100.0, attached=True, alone=have == 0)

    assert vacancies.next_at(0, 2) == 100.0
    assert vacancies.to_start(100.1, 0, 2) == 1
    vacancies.filled(1, 2)
    assert vacancies.to_start(100.1, 1, 2) == 0


def test_where_each_one_dies_as_soon_as_it_has_attached_they_are_not_forked_without_a_break() -> None:
    vacancies, starts, now = Vacancies(5.0), 0, 100.0
    while now < 110.0:  # each of them lives for 10 ms
        assert vacancies.to_start(now, 0, 1) == 1
        vacancies.filled(1, 1)
        starts, now = starts + 1, now + 0.01
        vacancies.add(now, attached=True, alone=True)
        next_at = vacancies.next_at(0, 1)
        assert next_at is not None
        now = max(now, next_at)

    assert 90 <= starts <= 102
    vacancies.add(120.0, attached=True, alone=True)  # one that lived for longer is replaced at once
    assert vacancies.to_start(120.0, 0, 1) == 1


def test_where_none_can_boot_they_are_tried_each_second() -> None:
    vacancies = Vacancies(1.0)
    delays = [vacancies.add(100.0 + second, attached=False, alone=True) for second in range(8)]

    assert delays == [0.0] + [1.0] * 7
    assert vacancies.to_start(107.5, 0, 1) == 0
    assert vacancies.to_start(108.0, 0, 1) == 1


def test_deaths_after_the_boot_rest_for_a_second_at_most_and_others_for_longer() -> None:
    later, boot = Vacancies(0.1), Vacancies(0.1)
    assert max(later.add(100.0, attached=True, alone=False) for _ in range(20)) == 1.0
    assert max(boot.add(100.0, attached=False, alone=False) for _ in range(20)) == 30.0


def test_however_many_die_in_a_minute_the_rest_can_be_reckoned() -> None:
    vacancies = Vacancies(0.1)
    assert [vacancies.add(100.0, attached=False, alone=False) for _ in range(2000)][-1] == 30.0


def test_what_the_system_refused_waits_for_all() -> None:
    vacancies = Vacancies(0.1)
    vacancies.put_off(101.0)

    assert vacancies.to_start(100.5, 0, 4) == 0
    assert vacancies.next_at(0, 4) == 101.0
    assert vacancies.to_start(101.0, 0, 4) == 4


def test_places_that_are_not_wanted_any_more_are_forgotten() -> None:
    vacancies = Vacancies(5.0)
    for _ in range(3):
        vacancies.add(100.0, attached=True, alone=False)

    assert vacancies.to_start(100.0, 1, 1) == 0
    assert vacancies.next_at(1, 1) is None
    assert vacancies.to_start(100.0, 1, 4) == 3
