"""How often in a row something went wrong in a thread, of as many threads as fit."""

from __future__ import annotations

import pytest

from shardq.working import streaks
from shardq.working.streaks import Streaks


def test_a_streak_grows_until_it_went_well() -> None:
    its = Streaks()
    assert [its.again("a"), its.again("b"), its.again("a")] == [1, 1, 2]

    its.end("a")
    its.end("never")

    assert [its.again("a"), its.again("b")] == [1, 2]


def test_of_too_many_threads_those_are_forgotten_whose_last_time_is_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaks, "MOST_THREADS", 3)
    its = Streaks()

    assert [its.again(key) for key in "abcabd"] == [1, 1, 1, 2, 2, 1]

    assert len(its._times) == 3
    assert [its.again(key) for key in "dbac"] == [2, 3, 3, 1]
