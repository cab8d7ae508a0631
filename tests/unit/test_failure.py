"""When a request that failed is tried again."""

from __future__ import annotations

import pytest

from shardq.model import Failed, Retry
from shardq.working.failure import rest_s

RETRY = Retry(backoff_s=2.0, backoff_max_s=300.0, jitter=False)
NOW_US = 1_800_000_000_000_000


@pytest.mark.parametrize(
    ("passed_s", "left_s"),
    [(0, 2.0), (0.5, 1.5), (2, 0.0), (3600, 0.0), (-3600, 2.0)],
    ids=["at once", "in the middle", "at the end", "late", "the clock was set back"],
)
def test_a_rest_is_never_longer_than_its_backoff(passed_s: float, left_s: float) -> None:
    failed = Failed(1, NOW_US, NOW_US, None)
    assert rest_s(RETRY, "m/H/0/0", 0, failed, NOW_US + int(passed_s * 1e6)) == pytest.approx(left_s)
