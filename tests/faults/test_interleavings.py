"""The guard's and the doorbell's real code in every order of events, within bounds; and spoilt doorbells are caught."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest

from shardq.errors import SegmentForeign
from shardq.protocols import Served
from shardq.shm import words as at
from shardq.shm.actions import Actions
from shardq.shm.layout import Layout
from shardq.shm.processes.death_watch import DeathWatch
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.handler_table import HandlerTable
from shardq.shm.verbs.waiting import Waiting
from tests.faults.explorer.bell import Looks, bare_segment, without_net, workshop
from tests.faults.explorer.guard import contest, guard_module
from tests.faults.explorer.ring import ring
from tests.faults.explorer.watch import watchmen
from tests.faults.explorer.worlds import Plan, Violation, World, random_plans, run_all, run_sample
from tests.faults.kit.scene import everything as all_threads
from tests.support.chance import sample_of_run

SAMPLE, SAMPLE_OF_ALL = 4_000, 150_000
Tried = Callable[[str, int], None]


def test_guard_keeps_two_processes_apart_in_every_order(tried: Tried) -> None:
    """At most two preemptions and one death."""
    module = guard_module()
    tried("orders", run_all(lambda plan: contest(module, 2, 1, plan), preemptions=2, kills=1))


def test_guard_taken_again_keeps_two_processes_apart_in_every_order(everything: bool, tried: Tried) -> None:
    module = guard_module()
    tried("orders", run_all(lambda plan: contest(module, 2, 2, plan), preemptions=2 if everything else 1, kills=1))


@pytest.mark.timeout(1800)
def test_guard_keeps_three_processes_apart(random: Random, everything: bool, tried: Tried) -> None:
    module = guard_module()
    plans = random_plans(random, SAMPLE_OF_ALL if everything else SAMPLE, steps=80, preemptions=4, kills=2)
    tried("orders", run_sample(lambda plan: contest(module, 3, 2, plan), plans))


ONLY_A, ONLY_B, ONLY_C = frozenset({"app/A"}), frozenset({"app/B"}), frozenset({"app/C"})


class Shop(NamedTuple):
    """Which process serves what, and what is appended."""

    name: str
    workers: list[Looks]
    batches: list[list[str]]
    rests: bool = False
    """Whether the workers look, sleep and claim by one verb."""

    def __str__(self) -> str:
        return self.name

    def run(self, plan: Plan) -> World:
        with bare_segment() as segment:
            return workshop(segment, self.workers, self.batches, plan, rests=self.rests)


A, B = "app/A/0/0", "app/B/0/0"
SHOPS = (
    Shop("one-worker", [[all_threads]], [[A, A]]),
    Shop("two-workers", [[all_threads], [all_threads]], [[A, B], [A]]),
    Shop("each-its-own", [[ONLY_A], [ONLY_B]], [[A], [B]]),
    Shop("each-its-own-from-one", [[ONLY_B], [ONLY_A]], [[A, B]]),
    # The first is still called for what it looked for before.
    Shop("one-looks-for-less", [[ONLY_A | ONLY_B, ONLY_A], [ONLY_B]], [[A, B]]),
    # And what it leaves is for a process behind one that does not serve it.
    Shop("one-looks-for-less-past-another", [[ONLY_A | ONLY_B, ONLY_A], [ONLY_C], [ONLY_B]], [[A, B]]),
    Shop("one-rests", [[all_threads]], [[A, A]], rests=True),
    Shop("two-rest", [[all_threads], [all_threads]], [[A, B], [A]], rests=True),
    Shop("each-rests-for-its-own", [[ONLY_A], [ONLY_B]], [[A], [B]], rests=True),
    Shop("one-rests-for-less", [[ONLY_A | ONLY_B, ONLY_A], [ONLY_B]], [[A, B]], rests=True),
)


@pytest.mark.parametrize("shop", sample_of_run(SHOPS, len(SHOPS) // 2), ids=str)
@pytest.mark.timeout(1800)
def test_no_wake_up_is_lost_in_any_order(shop: Shop, random: Random, everything: bool, tried: Tried) -> None:
    """Whatever the order, sleepers are woken for all that is appended; there is no safety net."""
    with without_net():
        number = run_all(shop.run, preemptions=2 if everything else 1, kills=0)
        plans = random_plans(random, 4_000 if everything else 200, steps=60, preemptions=4, kills=0)
        number += run_sample(shop.run, plans)
    tried("orders", number)


def looks_not_again(waiting: Waiting, names: Served, bound: str | None) -> tuple[None, None]:
    with waiting._section:
        waiting.sleeping += 1
        waiting._sleepers.sleep()
        return None, None


@pytest.mark.parametrize(
    ("owner", "method", "spoilt", "where"),
    [
        (Sleepers, "call", lambda sleepers, slot: None, "one-worker"),
        (Sleepers, "sleep", lambda sleepers: None, "one-worker"),
        (Waiting, "lie_down", looks_not_again, "one-worker"),
        (Waiting, "sleep", lambda waiting: None, "one-rests"),
        (Claims, "pass_on", lambda claims, taken: None, "one-rests-for-less"),
        (HandlerTable, "_publish", lambda handlers, served: None, "one-worker"),
    ],
    ids=[
        "none-called",
        "sleep-not-told",
        "no-second-look",
        "rest-not-told",
        "call-not-passed-on",
        "not-told-what-it-serves",
    ],
)
def test_spoilt_doorbell_is_caught(
    owner: type, method: str, spoilt: Callable[..., object], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = next(shop for shop in SHOPS if shop.name == where)
    monkeypatch.setattr(owner, method, spoilt)
    with without_net(), pytest.raises(Violation):
        run_all(shop.run, preemptions=1, kills=0)


def watched(sleepers: int, newcomers: int, plan: Plan) -> World:
    with bare_segment() as segment:
        return watchmen(segment, sleepers, newcomers, plan)


@pytest.mark.parametrize(("sleepers", "newcomers"), [(1, 1), (1, 2), (2, 1)])
def test_no_worker_that_begins_to_serve_goes_unwatched(
    sleepers: int, newcomers: int, everything: bool, tried: Tried
) -> None:
    """In whatever order they look, lie down and bind: a process that sleeps has seen all that are bound."""
    preemptions = 2 if everything else 1
    tried("orders", run_all(lambda plan: watched(sleepers, newcomers, plan), preemptions, kills=0))


def serves_untold(sleepers: Sleepers) -> None:
    """Begin to serve, and ring no bell."""
    sleepers._words[sleepers._slots.word(sleepers._slots.mine) + at.SLOT_SERVES] = 1
    sleepers._words[at.SERVERS] += 1


def serves_uncounted(sleepers: Sleepers, begin: Callable[[Sleepers], None] = Sleepers.make_known) -> None:
    """Begin to serve, and do not count it."""
    servers = sleepers._words[at.SERVERS]
    begin(sleepers)
    sleepers._words[at.SERVERS] = servers


@pytest.mark.parametrize(
    ("owner", "method", "spoilt"),
    [
        (Sleepers, "make_known", serves_untold),
        (Sleepers, "make_known", serves_uncounted),
        (DeathWatch, "_serving", lambda watch: []),
    ],
    ids=["none-rung", "not-counted", "not-looked-at"],
)
def test_spoilt_watch_is_caught(
    owner: type, method: str, spoilt: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, method, spoilt)
    with pytest.raises(Violation):
        run_all(lambda plan: watched(1, 2, plan), preemptions=1, kills=0)


@pytest.mark.parametrize(("recorders", "before"), [(1, 0), (1, 2), (2, 2), (3, 1)])
def test_actions_are_seen_whole_in_every_order(recorders: int, before: int, everything: bool, tried: Tried) -> None:
    """Who looks has no guard, and any of those that record may die."""
    preemptions = 2 if everything else 1
    tried("orders", run_all(lambda plan: ring(recorders, before, plan), preemptions, kills=1))


def looks_once(actions: Actions, limit: int) -> list[object]:
    count = actions._words[at.ACTIONS]
    numbers = range(count - 1, max(-1, count - 1 - limit), -1)
    return [actions._read(number, *actions._copied(number)) for number in numbers]


def without_spare_place(layout: Layout, number: int) -> int:
    return layout.actions_word + number % layout.actions * at.ACTION_BYTES // at.WORD


def counts_first(actions: Actions, at_us: int, told: bytes) -> None:
    """The number is stored before what it counts."""
    number = actions._words[at.ACTIONS]
    actions._words[at.ACTIONS] = number + 1
    word, place = actions._place(number)
    actions._words[word + at.ACTION_AT_US], actions._words[word + at.ACTION_LENGTH] = at_us, len(told)
    actions._segment.bytes[place : place + len(told)] = told


@pytest.mark.parametrize(
    ("owner", "method", "spoilt"),
    [(Actions, "seen", looks_once), (Layout, "action_word", without_spare_place), (Actions, "add", counts_first)],
    ids=["no-second-look", "no-spare-place", "counted-first"],
)
def test_spoilt_ring_is_caught(
    owner: type, method: str, spoilt: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, method, spoilt)
    with pytest.raises((Violation, SegmentForeign)):
        run_all(lambda plan: ring(3, 2, plan), preemptions=1, kills=1)
