"""What a map came to, as numbers and as a line."""

from __future__ import annotations

from shardq.results.summary import Summary


def test_a_summary_says_how_much_faster_it_was_than_one_process() -> None:
    assert Summary(1000, 2, 20.0, 10.0).speed_up == 2.0
    assert Summary(0, 0, 0.0, 0.0).speed_up == 0.0


def test_a_summary_is_a_line() -> None:
    assert (
        str(Summary(1000, 2, 20.0, 10.0))
        == "1,000 requests in 10.00 s, 2 of them failed; 20.00 s of work, 2.00 times as fast as one process"
    )
    assert str(Summary(1, 0, 0.5, 0.5)) == "1 request in 0.50 s; 0.50 s of work, 1.00 times as fast as one process"
