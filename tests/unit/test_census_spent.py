"""The figures of the census say what the machine had left for it."""

from __future__ import annotations

import subprocess
import sys

from examples.census.spent import Spent, comparison, timed

SPIN = "import time\nwhile time.process_time() < 0.1: pass"


def test_the_work_of_programs_that_were_waited_for_counts() -> None:
    code, spent = timed(lambda: subprocess.call([sys.executable, "-S", "-c", SPIN]))
    assert code == 0
    assert spent.processors_s >= 0.09  # the kernel counts in ticks
    assert spent.wall_s > 0


def test_on_a_machine_of_its_own_the_times_are_compared() -> None:
    lines = comparison(Spent(11.5, 11.4), Spent(6.2, 12.1), workers=2, processors=2)
    assert lines == [
        "plain loop: 11.50 s (11.40 s of processors)",
        "shardq, workers: 2: 6.20 s (12.10 s of processors), 0.54 of the plain loop's time, speed-up 1.85",
    ]


def test_where_others_keep_the_processors_busy_it_says_so() -> None:
    *_, last = comparison(Spent(12.0, 11.4), Spent(15.4, 12.1), workers=2, processors=2)
    assert "the loop had 0.95 of 1, shardq 0.79 of 2" in last
    assert last.endswith("by the work of the processors alone it would be 1.88")


def test_more_workers_than_processors_are_not_kept_from_work() -> None:
    assert len(comparison(Spent(11.5, 11.4), Spent(6.2, 12.1), workers=8, processors=2)) == 2
