"""Which signals ask for the end, and which repeat what was asked for."""

from __future__ import annotations

import signal

import pytest

from shardq.supervisor.wishes.stopping import ONE_WISH_S, StopWishes, Wish

TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


@pytest.mark.parametrize("number", [TERM, INT, QUIT])
def test_the_same_signal_at_once_is_the_same_wish(number: signal.Signals) -> None:
    wishes = StopWishes()
    assert wishes.heard(number, 100.0) is Wish.STOP
    assert wishes.heard(number, 100.001) is Wish.NONE
    assert wishes.heard(number, 100.0 + ONE_WISH_S) is Wish.NONE


@pytest.mark.parametrize("number", [TERM, INT, QUIT])
def test_a_signal_later_on_is_another_wish(number: signal.Signals) -> None:
    wishes = StopWishes()
    wishes.heard(TERM, 100.0)
    assert wishes.heard(number, 100.0 + 2 * ONE_WISH_S) is Wish.KILL


def test_signals_without_a_break_come_to_be_another_wish() -> None:
    wishes = StopWishes()
    heard = [wishes.heard(INT, 100.0 + tenth / 10) for tenth in range(10)]
    assert heard.index(Wish.KILL) > 1


def test_a_parent_that_says_term_for_the_terminals_int_adds_nothing() -> None:
    wishes = StopWishes()
    assert wishes.heard(INT, 100.0) is Wish.STOP
    assert wishes.heard(TERM, 100.01) is Wish.NONE


def test_of_one_wish_the_more_urgent_signal_counts() -> None:
    wishes = StopWishes()
    assert wishes.heard(TERM, 100.0) is Wish.STOP
    assert wishes.heard(INT, 100.01) is Wish.HASTEN
    assert wishes.heard(QUIT, 100.02) is Wish.NONE


def test_a_terminal_that_went_away_is_asked_for_once_with_the_term_of_its_session() -> None:
    wishes = StopWishes()
    assert wishes.heard(signal.SIGHUP, 100.0) is Wish.STOP
    assert wishes.heard(TERM, 100.01) is Wish.NONE
