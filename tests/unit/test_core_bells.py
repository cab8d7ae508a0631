"""Ringing in C: a sleeping process is rung before what it is called for is stored, and once for it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shardq.model import Hand, Terms
from shardq.shm import core
from shardq.shm import words as at
from shardq.shm.files.names import bell_path
from shardq.shm.store import Store
from tests.support.engines import needs_c, store_of
from tests.support.forked import Forked
from tests.support.segments import NewStore

pytestmark = needs_c

KEY, PIPE = "m/H/1", "m/H/1/0"
TERMS = {"m/H": Terms((0,), 9)}
#: The handler has the first number that there is.
SERVES_H = 1 << 1


class Gap:
    """In place of the lock of this process's threads: between a ring ahead and the section of its append, this calls a
    function.
    """

    def __init__(self) -> None:
        self.between: Callable[[], object] = lambda: None
        self.release: Callable[[], None]

    def around(self, threads: Any) -> Gap:
        self._acquire, self.release = threads.acquire, threads.release
        return self

    def acquire(self, blocking: bool) -> bool:
        between, self.between = self.between, lambda: None
        between()
        return bool(self._acquire(blocking))


@pytest.fixture
def gap(monkeypatch: pytest.MonkeyPatch) -> Gap:
    made, engine = Gap(), core._class()
    assert engine is not None
    monkeypatch.setattr(
        core, "_class", lambda: lambda **options: engine(**{**options, "threads": made.around(options["threads"])})
    )
    return made


@pytest.fixture
def store(gap: Gap, new_store: NewStore) -> Store:
    """A store whose engine knows the tube, which is empty."""
    found = store_of("c", new_store, 4 << 20, 16)
    empty(found, 2)
    return found


class Sleeper:
    """Another process, whose bell the test hears in its place."""

    def __init__(self, store: Store, *, claims: bool) -> None:
        def attach() -> None:
            if claims:
                assert store.delivering.claim(KEY)
            store.doorbell.open()
            print(store.slot, flush=True)
            sys.stdin.read()

        self._process = Forked(attach, [])
        self._segment = store.segment
        self.slot = int(self._process.line())
        path = bell_path(store.segment.system_name, self.slot)
        self._bell = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        served = self._segment.layout.served_map + self.slot * at.SERVED_BYTES
        self._segment.bytes[served] = SERVES_H
        self.fall_asleep()

    @property
    def state(self) -> int:
        return self._segment.bytes[self._place]

    def fall_asleep(self) -> None:
        self._segment.bytes[self._place] = at.ASLEEP

    def wake(self) -> None:
        self._segment.bytes[self._place] = at.AWAKE

    def look(self) -> int:
        """Take in the rings so far, look for work, and sleep again. Returns how many rings that were."""
        rings = self.rings()
        self._segment.words[self._segment.layout.slot_word(self.slot) + at.SLOT_ATTEMPT] += 1 << 16
        self.fall_asleep()
        return rings

    def rings(self) -> int:
        """Take in the rings so far. Returns how many that were."""
        try:
            return len(os.read(self._bell, 99))
        except BlockingIOError:
            return 0

    def die(self) -> None:
        """Die asleep: nobody hears the bell any more."""
        os.close(self._bell)
        self._bell = -1
        self._process.kill()

    def end(self) -> None:
        if self._bell >= 0:
            self.die()

    @property
    def _place(self) -> int:
        return self._segment.layout.sleep_map + self.slot


@contextmanager
def sleeping(store: Store, *, claims: bool = False) -> Iterator[Sleeper]:
    """A sleeper that this process has rung before."""
    sleeper = Sleeper(store, claims=claims)
    try:
        append(store)
        assert sleeper.look() == 1
        if not claims:
            empty(store, 0)
            sleeper.look()
        yield sleeper
    finally:
        sleeper.end()


@pytest.fixture
def owner(store: Store) -> Iterator[Sleeper]:
    """One that is bound to the thread: each request is a call to it."""
    with sleeping(store, claims=True) as found:
        yield found


@pytest.fixture(params=["ready", "bound"])
def sleeper(store: Store, request: pytest.FixtureRequest) -> Iterator[Sleeper]:
    """One that serves the thread, or that is bound to it."""
    with sleeping(store, claims=request.param == "bound") as found:
        yield found


def append(store: Store) -> None:
    assert store.appending.append([(PIPE, [b"message"])])


def empty(store: Store, count: int) -> None:
    """Store so many messages more, and handle all."""
    for _ in range(count):
        append(store)
    hand: Hand | None = store.delivering.turn(None, frozenset(TERMS), TERMS, stay=True)
    while hand and hand.batch.count:
        hand = store.delivering.turn(hand, frozenset(TERMS), TERMS, stay=True)
    assert hand is not None
    assert store.delivering.unclaim(hand.key, hand.token)


def only_in_c(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on Python rings nobody."""
    monkeypatch.setattr(store.doorbell, "ring", lambda slot: pytest.fail(f"Python rang {slot}"))


def test_a_sleeper_is_rung_before_the_request_is_stored(
    store: Store, gap: Gap, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_in_c(store, monkeypatch)
    heard = list[tuple[int, int]]()
    gap.between = lambda: heard.append((sleeper.rings(), sleeper.state))

    append(store)

    assert heard == [(1, at.ASLEEP)]
    assert (sleeper.rings(), sleeper.state) == (0, at.CALLED)


def test_a_sleeper_that_has_looked_before_the_request_was_stored_is_rung_again(
    store: Store, gap: Gap, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_in_c(store, monkeypatch)
    heard = list[int]()
    gap.between = lambda: heard.append(sleeper.look())

    append(store)

    assert heard == [1]
    assert (sleeper.rings(), sleeper.state) == (1, at.CALLED)


def test_a_sleeper_that_woke_before_the_request_was_stored_is_not_called(
    store: Store, gap: Gap, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_in_c(store, monkeypatch)
    gap.between = lambda: [sleeper.look(), sleeper.wake()]

    append(store)

    assert (sleeper.rings(), sleeper.state) == (0, at.AWAKE)


def test_a_ring_ahead_counts_for_its_own_request_alone(
    store: Store, owner: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next request comes while the sleeper is still on its way, and one more after it has looked."""
    only_in_c(store, monkeypatch)
    append(store)
    append(store)
    assert owner.look() == 1

    append(store)
    assert owner.rings() == 1


def test_the_owner_of_a_thread_is_rung_and_no_other_sleeper(store: Store, owner: Sleeper) -> None:
    other = Sleeper(store, claims=False)
    try:
        append(store)
        assert (owner.rings(), other.rings()) == (1, 0)
    finally:
        other.end()


@pytest.mark.parametrize("word", [at.CLOSED, at.PAUSED])
def test_where_all_is_left_to_python_nobody_is_rung_ahead(store: Store, gap: Gap, sleeper: Sleeper, word: int) -> None:
    engine, words = store.core.engine, store.segment.words
    assert engine is not None
    words[word] = at.ARRIVING if word == at.CLOSED else 1

    assert engine.append([(PIPE, [b"message"])], at.GENERAL) is None

    words[word] = 0
    assert (sleeper.rings(), sleeper.state) == (0, at.ASLEEP)


def test_where_the_way_to_a_bell_was_closed_python_opens_it_anew(
    store: Store, owner: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.doorbell._close(owner.slot)
    reader, writer = os.pipe2(os.O_NONBLOCK)  # one of them has its number now
    try:
        append(store)
        assert owner.look() == 1
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)

    only_in_c(store, monkeypatch)
    append(store)
    assert owner.rings() == 1


@pytest.mark.parametrize("how", [signal.SIG_IGN, signal.SIG_DFL])
def test_the_bell_of_a_process_that_died_asleep_ends_nobody(store: Store, how: signal.Handlers) -> None:
    with sleeping(store) as found:
        former = signal.signal(signal.SIGPIPE, how)
        try:
            found.die()
            append(store)
        finally:
            signal.signal(signal.SIGPIPE, former)
    assert store.reading.read(PIPE, 9).count == 1
