"""What a `Sampler` says of two looks at a segment, whatever happens to it between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shardq.drivers import SharedStorage
from shardq.errors import ConfigurationError, SegmentMissing
from shardq.model import BUCKETS, Counts, HandlerView, Times
from shardq.sampling import Sampler
from shardq.sampling.spans import Look, flow_between, handler_flow, is_continued
from tests.support import hands
from tests.support.drivers import MIB

KEY, PIPE = "app.jobs/Resize/3", "app.jobs/Resize/3/0"
HANDLER = "app.jobs/Resize"


class Clock:
    """Goes only where a test moves it, or by one step with each look at it."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s = 1000.0
        self._step_s = step_s

    def __call__(self) -> float:
        self.now_s += self._step_s
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(name: str) -> Iterator[SharedStorage]:
    storage = SharedStorage.create(name, 8 * MIB)
    yield storage
    storage.detach()


@pytest.fixture
def sampler(name: str, clock: Clock) -> Iterator[Sampler]:
    sampler = Sampler(f"shm://{name}", clock=clock, unix_clock=clock)
    yield sampler
    sampler.close()


async def handle(storage: SharedStorage, count: int) -> None:
    """Store so many requests, and acknowledge them one by one."""
    assert await storage.append([(PIPE, [b"\x01"] * count)])
    token = await storage.claim(KEY)
    for _ in range(count):
        batch = await hands.take(storage, [PIPE], 1, token)
        await hands.pop(storage, PIPE, batch.through, token)
    await storage.unclaim(KEY, token)


async def test_the_first_look_has_counts_and_no_rates(storage: SharedStorage, sampler: Sampler) -> None:
    await handle(storage, 3)
    sample = await sampler.look()
    [handler] = sample.handlers
    assert sample.overview is not None
    assert sample.overview.counts.handled == 3
    assert (sample.state, sample.gone, sample.flow, handler.flow) == ("unserved", None, None, None)
    assert handler.counted is not None
    assert handler.counted.done == 3


async def test_the_next_look_says_what_went_through_between(
    storage: SharedStorage, sampler: Sampler, clock: Clock
) -> None:
    await handle(storage, 50)
    await sampler.look()
    clock.now_s += 4
    await handle(storage, 8)
    await storage.append([(PIPE, [b"\x01"] * 4)])
    sample = await sampler.look()
    [handler] = sample.handlers
    for flow in (sample.flow, handler.flow):
        assert flow is not None
        assert (flow.span_s, flow.accepted_per_s, flow.handled_per_s, flow.failed_per_s) == (4, 3, 2, 0)
        assert (flow.wait.count, flow.work.count) == (8, 8)
        assert flow.work.p99_s is not None
    assert (handler.queued.requests, handler.queued.tubes, handler.queued.unserved) == (4, 1, 0)
    assert handler.queued.lag_s is not None


async def test_where_nothing_happens_rates_are_zero_and_times_unknown(
    storage: SharedStorage, sampler: Sampler, clock: Clock
) -> None:
    await handle(storage, 5)
    await sampler.look()
    clock.now_s += 1
    sample = await sampler.look()
    assert sample.flow is not None
    assert (sample.flow.accepted_per_s, sample.flow.handled_per_s, sample.flow.wait.p50_s) == (0, 0, None)


async def test_without_time_between_looks_there_are_no_rates(storage: SharedStorage, sampler: Sampler) -> None:
    await sampler.look()
    await handle(storage, 5)
    assert (await sampler.look()).flow is None


async def test_a_longer_span_compares_with_the_look_so_long_before(
    storage: SharedStorage, name: str, clock: Clock
) -> None:
    sampler, spans = Sampler(f"shm://{name}", span_s=10, clock=clock), []
    for _ in range(25):
        flow = (await sampler.look()).flow
        spans.append(flow.span_s if flow else 0)
        clock.now_s += 1
        await handle(storage, 1)
    sampler.close()
    assert spans == [*range(11), *[10] * 14]


async def test_a_storage_that_is_not_there_is_gone_until_it_comes(name: str, sampler: Sampler, clock: Clock) -> None:
    sample = await sampler.look()
    assert (sample.state, sample.overview, sample.handlers) == ("gone", None, ())
    assert isinstance(sample.gone, SegmentMissing)
    storage = SharedStorage.create(name, 8 * MIB)
    clock.now_s += 1
    assert (await sampler.look()).state == "unserved"
    storage.detach()


async def test_a_storage_that_is_made_anew_has_no_rates_at_first_and_none_below_zero(
    storage: SharedStorage, name: str, sampler: Sampler, clock: Clock
) -> None:
    await handle(storage, 20)
    await sampler.look()
    storage.destroy()
    clock.now_s += 1
    assert (await sampler.look()).state == "gone"

    anew = SharedStorage.create(name, 8 * MIB)
    await handle(anew, 2)
    clock.now_s += 1
    assert (await sampler.look()).flow is None
    await handle(anew, 2)
    clock.now_s += 1
    flow = (await sampler.look()).flow
    assert flow is not None
    assert flow.handled_per_s == 2
    anew.detach()


async def test_a_storage_that_was_exchanged_between_looks_has_no_rates(
    storage: SharedStorage, name: str, sampler: Sampler, clock: Clock
) -> None:
    """The one that was looked at says that it was removed; the look after that finds the other one, which has more."""
    await handle(storage, 1)
    await sampler.look()
    storage.destroy()
    anew = SharedStorage.create(name, 8 * MIB)
    await handle(anew, 9)
    clock.now_s += 1
    assert (await sampler.look()).flow is None
    clock.now_s += 1
    sample = await sampler.look()
    assert sample.overview is not None
    assert sample.overview.counts.handled == 9
    anew.detach()


async def test_what_can_never_be_looked_at_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="cannot be looked into"):
        await Sampler("memory://").look()


async def test_history_has_a_point_for_ten_seconds_and_an_hour_of_them(
    storage: SharedStorage, sampler: Sampler, clock: Clock
) -> None:
    for _ in range(800):
        await sampler.look()
        clock.now_s += 5
    points = sampler.history
    assert len(points) == 360
    assert {later.at_unix_s - former.at_unix_s for former, later in itertools.pairwise(points)} == {10}
    assert all(point.flow and point.flow.span_s == 10 for point in points)

    storage.destroy()
    clock.now_s += 3595
    await sampler.look()
    clock.now_s += 10
    await sampler.look()
    assert [point.counts for point in sampler.history[-2:]] == [None, None]
    assert len(sampler.history) == 2


async def test_tubes_are_looked_at_in_rounds_where_there_are_many(storage: SharedStorage, name: str) -> None:
    for thread in range(600):
        assert await storage.append([(f"app.jobs/Resize/{thread}/0", [b"\x01"] * (1 + thread % 7))])
    sampler = Sampler(f"shm://{name}", budget_s=0.5, clock=Clock(step_s=1.0))
    samples = [await sampler.look() for _ in range(6)]
    sampler.close()

    assert not samples[0].tubes.is_complete
    assert 0 < samples[0].tubes.all.tubes < 600
    whole = samples[-1].tubes
    assert whole.is_complete
    assert whole.all.tubes == 600
    assert whole.all.requests == whole.by_handler[HANDLER].requests == sum(1 + thread % 7 for thread in range(600))
    assert len(whole.longest) == len(whole.oldest) == 100
    assert [view.queued for view in whole.longest[:28]] == [7] * 28
    ages = [view.oldest_age_s for view in whole.oldest]
    assert ages == sorted(ages, key=lambda age: -(age or 0))
    assert whole.all.lag_s == ages[0]


async def test_looks_change_nothing_and_take_no_slot(storage: SharedStorage, sampler: Sampler) -> None:
    await handle(storage, 3)
    before, others = await storage.backlog(), storage.store.supervision.other_pids()
    await sampler.look()
    assert (await storage.backlog(), storage.store.supervision.other_pids()) == (before, others)


# Figures alone

NONE = Times.counted([0] * BUCKETS)
VIEW = HandlerView(HANDLER, 10, 8, 1, 1, {"raised": 2}, 9, 1.0, 0.0, 0.0, NONE, NONE, 0.0, {"waited": 0, "raised": 0})


def look(at_s: float, counts: Counts, *views: HandlerView, life: int = 1) -> Look:
    return Look(at_s, life, counts, {view.handler: view for view in views})


@pytest.mark.parametrize("lost", [{"accepted": 9}, {"handled": 8}, {"buried": 0}, {"evicted": 0}])
def test_counts_that_go_back_are_those_of_another_storage(lost: dict[str, int]) -> None:
    counts = Counts(10, 9, buried=1, evicted=1)
    assert is_continued(look(0, counts), look(1, counts))
    assert not is_continued(look(0, counts), look(1, counts._replace(**lost)))


def test_counts_of_what_was_found_anew_are_those_of_another_storage() -> None:
    assert not is_continued(look(0, Counts(1, 1)), look(1, Counts(2, 2), life=2))


@pytest.mark.parametrize("change", [{"accepted": 9}, {"done": 7}, {"failed": {"raised": 1}}])
def test_a_handler_whose_counts_go_back_has_no_flow(change: dict[str, int]) -> None:
    before, after = look(0, Counts(10, 9), VIEW), look(1, Counts(10, 9), replace(VIEW, **change))
    assert handler_flow(HANDLER, before, after) is None
    assert flow_between(before, after).failed_per_s == 0


def test_a_handler_that_comes_between_two_looks_counts_from_nothing() -> None:
    flow = handler_flow(HANDLER, look(0, Counts(0, 0)), look(2, Counts(10, 9), VIEW))
    assert flow is not None
    assert (flow.accepted_per_s, flow.handled_per_s, flow.buried_per_s, flow.failed_per_s) == (5, 5, 0.5, 1)


def test_where_handlers_are_not_counted_failures_are_unknown() -> None:
    assert flow_between(look(0, Counts(0, 0)), look(1, Counts(5, 4))).failed_per_s is None
