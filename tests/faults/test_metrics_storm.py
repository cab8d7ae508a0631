"""Metrics of a family whose workers are killed at random: no counter goes back, and a death loses one batch at most."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest

from shardq import Supervisor
from shardq.handler import drive
from shardq.metrics import exposed
from tests.faults.conftest import COUNTED
from tests.support import counting
from tests.support.counting import BATCH, Counted, Item
from tests.support.metrics import Samples, parsed
from tests.support.programs import until

#: So many requests wait at least while workers are killed, and so many a call brings.
WAITING, CALL = 2_000, 1_000
#: A worker is killed so soon at most after the one before.
LONGEST_S = 0.05


def counters(url: str) -> Samples:
    """What may never go back: counters, and the buckets, sums and counts of histograms."""
    text: str = drive(exposed(url))
    lines = [line for line in text.splitlines() if line.startswith("#") or 'handler="tests' in line or "how=" in line]
    gauges = ("shardq_queued", "shardq_oldest", "shardq_dead_letters")
    return {key: value for key, value in parsed("\n".join(lines) + "\n").items() if not key[0].startswith(gauges)}


def left(samples: Samples) -> float:
    """How many requests have left, whatever became of them."""
    return sum(value for (name, *_), value in samples.items() if name == "shardq_requests_done_total")


@pytest.mark.timeout(120 + COUNTED)
def test_no_counter_goes_back_and_a_death_loses_one_batch_at_most(
    random: Random, tried: Callable[[str, int], None]
) -> None:
    with Supervisor(counting.__name__, workers=3) as supervisor:
        storage, url, killed = supervisor.queue.storage, supervisor.url, set[int]()
        before = counters(url)
        while len(killed) < COUNTED:
            if drive(storage.backlog()).queued < WAITING:
                supervisor.queue.register_sync(Counted, *map(Item, range(CALL)))
            time.sleep(random.uniform(0, LONGEST_S))
            workers = {worker.pid for worker in supervisor.stats().workers if worker.state in ("busy", "idle")} - killed
            if workers:
                with suppress(ProcessLookupError):
                    os.kill(pid := random.choice(sorted(workers)), signal.SIGKILL)
                    killed.add(pid)
            now = counters(url)
            assert {key: value for key, value in before.items() if now[key] < value} == {}
            before = now
        until(lambda: drive(storage.backlog()).queued == 0, "all that is left is handled")
        counts, now = drive(storage.backlog()), counters(url)

        name = f"{counting.__name__}/{Counted.__qualname__}"
        assert now["shardq_requests_accepted_total", name] == counts.accepted
        assert 0 <= counts.handled - left(now) <= len(killed) * BATCH
        assert now["shardq_attempts_failed_total", name, "died"] <= len(killed)
        until(
            lambda: counters(url)["shardq_worker_deaths_total", "killed"] == len(killed), "each death is counted once"
        )
    tried("deaths of workers whose metrics were read", len(killed))
