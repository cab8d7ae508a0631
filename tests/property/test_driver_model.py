"""Every driver against plain lists, through the protocol alone; and where a driver outlives processes, with deaths.

Processes that die take some messages in hand first, or are killed at some line of a verb that would change things.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shardq.errors import FencedError
from shardq.handler import drive as run
from shardq.model import EMPTY, Batch, Counts, Deferred, Hand, Scheduled, Terms, When
from shardq.outputs import Output
from shardq.protocols import Storage
from shardq.scheduling.schedule import next_times_us
from shardq.shm.processes.shares import Share, slots_of
from tests.faults.kit.fsck import fsck
from tests.faults.kit.points import Child, dying_after
from tests.property.model import Model, TubeModel, Waiting, in_front, key_of
from tests.support import hands
from tests.support.drivers import DRIVERS, MIB, Driver
from tests.support.listing import listed

#: Letters that a grave keeps.
DEAD_LETTERS = 4
GRAVE = "m/H/dead/0"
ALL, NO_LETTER = 1 << 30, 1 << 40
HOUR_S = 3600.0

keys = st.sampled_from(["m/H/0", "m/H/0", "m/H/1"])
pipes = st.builds("{}/{}".format, keys, st.sampled_from([0, 0, 5]))
#: Few different ones, so that equal messages meet.
message = st.sampled_from([b"", b"a", b"b", b"c" * 99, b"d" * 999])
messages = st.lists(message, min_size=1, max_size=9)
limits = st.sampled_from([0, 1, 1, 2, 3, 5, 100])
places = st.integers(0, 3)
spans_s = st.sampled_from([3600, 3600, 7200])
schedules = st.sampled_from(["every 60", "every 3600"])
#: Where a batch's outputs go, in how many seconds, None: at once, and whether only without an equal.
outputs = st.lists(st.tuples(pipes, messages, st.sampled_from([None, None, 3600]), st.booleans()), max_size=6)
#: Lines of a verb that a process lives through: some verbs have fewer.
lines = st.integers(1, 160)


def now_us() -> int:
    """The clock of this host, by which all these drivers go."""
    return time.time_ns() // 1000


class DriverModel(RuleBasedStateMachine):
    driver: Driver

    def __init__(self) -> None:
        super().__init__()
        self.backend = self.driver.make(MIB)
        self.storage: Storage = self.backend.storage
        most = DEAD_LETTERS if "one_grave" in self.driver.capabilities else ALL
        self.storage.settings.dead_letters = most
        self.store: Any = getattr(self.storage, "store", None)
        self.model = Model(most)
        self.last_token = 0

    def teardown(self) -> None:
        try:
            if self.store:
                assert fsck(self.store.segment) == []
        finally:
            asyncio.run(self._discard())

    async def _discard(self) -> None:
        await self.backend.discard()

    def outlives_processes(self) -> bool:
        return self.store is not None and len(slots_of(Share.GENERAL, self.store.segment.layout.slots)) > 1

    def pipes_held(self) -> list[str]:
        """Tubes of threads that this process has bound: those with messages if there are any."""
        held = [pipe for pipe in self.model.pipes() if key_of(pipe) in self.model.tokens]
        return sorted(held) or [f"{min(self.model.tokens)}/0"]

    def letter(self, place: int) -> int:
        """The number of the letter at a place, going round, or of none."""
        letters = self.model.graves[GRAVE].queued
        place %= len(letters) + 1
        return letters[place][0] if place < len(letters) else NO_LETTER

    def stock(self, pipe: str) -> None:
        """See to it that the tube has messages."""
        if not self.model.messages(pipe):
            self.append(pipe, [b"a", b"b", b"c"])

    def hand(self, pipe: str) -> Hand:
        """A hand with an empty batch from where `take` looks first."""
        where = self.model.first(pipe)
        batch = Batch(0, 0, 0, (), b"", pipe=pipe, front=where != pipe)
        return Hand(key_of(pipe), self.model.tokens[key_of(pipe)], batch)

    def free(self, key: str) -> None:
        """Let the thread go, so that another process can have it."""
        if key in self.model.tokens:
            assert run(self.storage.unclaim(key, self.model.tokens[key]))
            self.model.unclaim(key, paused=False)

    @initialize(pipe=pipes)
    def begin_with_letters(self, pipe: str) -> None:
        self.claim(key_of(pipe))
        self.append(pipe, [b"a", b"b", b"c", b"d"])
        for letter in (b"first", b"second"):
            self._bury(pipe, letter)

    @rule(pipe=pipes, new=messages)
    def append(self, pipe: str, new: list[bytes]) -> None:
        assert run(self.storage.append([(pipe, new)]))
        self._appended(pipe, new)

    def _appended(self, pipe: str, new: list[bytes]) -> None:
        batch = run(self.storage.range(pipe, ALL))
        assert batch.messages == [*self.model.messages(pipe), *new]
        self.model.append(pipe, new, batch.through - len(new))

    @rule(pipe=pipes, new=messages)
    def append_what_is_absent(self, pipe: str, new: list[bytes]) -> None:
        expected = self.model.absent(pipe, new)
        assert run(self.storage.append([(pipe, new)], absent=True)) == len(expected)
        if expected:
            self._appended(pipe, expected)

    @rule(pipe=pipes, new=messages, span_s=spans_s, absent=st.booleans())
    def defer(self, pipe: str, new: list[bytes], span_s: int, absent: bool) -> None:
        """The time is far ahead: what waits stays until it is removed."""
        due_us = now_us() + span_s * 1_000_000
        expected = self.model.absent(pipe, new) if absent else new
        assert run(self.storage.append([(pipe, new)], when=When(due_us), absent=absent)) == len(expected)
        self.model.defer(pipe, expected, due_us)

    @rule(some=st.lists(st.integers(0, 20), max_size=3, unique=True))
    def cancel_what_waits(self, some: list[int]) -> None:
        """By their ids, which those of the same place in the order have."""
        found, waiting = self._waiting(), self.model.in_due_order()
        chosen = [place for place in some if place < len(found)]
        assert run(self.storage.deferrals.cancel(*(found[place].id for place in chosen))) == len(chosen)
        for place in chosen:
            assert run(self.storage.deferrals.find(found[place].id)) is None
            _forget(self.model.waiting, waiting[place])

    @rule(place=st.integers(0, 20))
    def run_what_waits(self, place: int) -> None:
        found, waiting = self._waiting(), self.model.in_due_order()
        if place < len(found):
            assert run(self.storage.deferrals.run(found[place].id))
            assert run(self.storage.deferrals.run(found[place].id)) is None
            _forget(self.model.waiting, waiting[place])
            self._appended(waiting[place].pipe, [waiting[place].message])

    def _waiting(self) -> list[Deferred]:
        """The first due first. Of those that are due together the contract has an order within a tube only."""
        found = listed(lambda after: run(self.storage.deferrals.page(after, 20)))
        assert [one.due_us for one in found] == sorted(one.due_us for one in found)
        return sorted(found, key=lambda one: (one.due_us, one.pipe))

    @rule(pipe=pipes, new=messages, absent=st.booleans())
    def append_what_is_due(self, pipe: str, new: list[bytes], absent: bool) -> None:
        expected = self.model.absent(pipe, new) if absent else new
        past = When(now_us() - 1)
        assert run(self.storage.append([(pipe, new)], when=past, absent=absent)) == len(expected)
        run(self.storage.promote())
        if expected:
            self._appended(pipe, expected)

    @rule(pipe=pipes, new=messages, schedule=schedules, span_s=spans_s, absent=st.booleans())
    def repeat(self, pipe: str, new: list[bytes], schedule: str, span_s: int, absent: bool) -> None:
        when = When(now_us() + span_s * 1_000_000, schedule)
        expected = self.model.repeat(pipe, new, schedule, when.due_us, absent=absent)
        assert run(self.storage.append([(pipe, new)], when=when, absent=absent)) == expected

    @rule(pipe=pipes, wanted=st.lists(message, max_size=2))
    def unschedule(self, pipe: str, wanted: list[bytes]) -> None:
        assert run(self.storage.unschedule(pipe, *wanted)) == self.model.unschedule(pipe, wanted)

    @rule(place=places)
    def skip(self, place: int) -> None:
        """A recurrent message leaves out its next time, once."""
        recurrent = sorted(self.model.recurrent.items())
        if not recurrent:
            return
        (pipe, repeated), (schedule, due_us) = recurrent[place % len(recurrent)]
        its = Scheduled(pipe, repeated, schedule, due_us)
        assert run(self.storage.deferrals.skip(its))
        assert run(self.storage.deferrals.skip(its)) is None
        self.model.recurrent[pipe, repeated] = schedule, next_times_us(schedule, due_us)[1]

    @rule(pipe=pipes, new=message)
    def miss_a_time(self, pipe: str, new: bytes) -> None:
        """A recurrent message comes once for all the times that were missed."""
        if (pipe, new) in self.model.recurrent:
            return
        due_us = now_us() - 90 * 1_000_000
        assert run(self.storage.append([(pipe, [new])], when=When(due_us, "every 60"))) == 1
        run(self.storage.promote())
        self.model.repeat(pipe, [new], "every 60", due_us + 120 * 1_000_000, absent=False)
        self._appended(pipe, [new])

    @precondition(lambda self: self.model.tokens)
    @rule(data=st.data(), limit=limits)
    def take(self, data: st.DataObject, limit: int) -> None:
        self._take(data.draw(st.sampled_from(self.pipes_held())), limit)

    def _take(self, pipe: str, limit: int) -> Batch:
        where = self.model.first(pipe)
        tube = self.model.tubes[where]
        expected, failures = tube.batch(limit), tube.failures
        batch = run(hands.take(self.storage, [pipe], limit, self.model.tokens[key_of(pipe)]))
        assert batch.messages == [message for _, message in expected]
        if expected:
            assert (batch.sequence, batch.through, batch.pipe) == (expected[0][0], expected[-1][0] + 1, pipe)
            assert batch.front == (where != pipe)
            assert (batch.failed.attempts if batch.failed else 0) == failures
            tube.handed = max(tube.handed, batch.through)
        return batch

    @precondition(lambda self: self.model.tokens)
    @rule(key_place=places, order=st.permutations([0, 5]))
    def take_from_the_first_that_has_any(self, key_place: int, order: list[int]) -> None:
        key = sorted(self.model.tokens)[key_place % len(self.model.tokens)]
        listed = [f"{key}/{priority}" for priority in order]
        pipe = next((pipe for pipe in listed if self.model.messages(pipe)), listed[0])
        tube = self.model.tubes[self.model.first(pipe)]
        expected = tube.batch(2)
        batch = run(self.storage.take(key, self.model.tokens[key], Terms(tuple(order), 2)))
        assert batch.messages == [message for _, message in expected]
        if expected:
            assert batch.pipe == pipe
            tube.handed = max(tube.handed, batch.through)

    @precondition(lambda self: self.model.tokens)
    @rule(data=st.data(), limit=limits, count=places)
    def pop_a_prefix(self, data: st.DataObject, limit: int, count: int) -> None:
        pipe = data.draw(st.sampled_from(self.pipes_held()))
        where, batch = self.model.first(pipe), self._take(pipe, limit)
        count = min(count, batch.count)
        for _ in range(2):
            run(self.storage.pop(Hand(key_of(pipe), self.model.tokens[key_of(pipe)], batch), count))
        self.model.pop(where, batch.through_first(count))

    @precondition(lambda self: self.model.tokens)
    @rule(data=st.data(), limit=limits, count=places, sent=outputs)
    def pop_with_outputs(
        self, data: st.DataObject, limit: int, count: int, sent: list[tuple[str, list[bytes], int | None, bool]]
    ) -> None:
        pipe = data.draw(st.sampled_from(self.pipes_held()))
        self.stock(pipe)
        where, batch = self.model.first(pipe), self._take(pipe, limit)
        count, due_us = min(count, batch.count), now_us() + 3600 * 1_000_000
        asked = [Output(to, new, When(due_us) if span_s else None, absent) for to, new, span_s, absent in sent]
        for _ in range(2):
            assert run(self.storage.pop(Hand(key_of(pipe), self.model.tokens[key_of(pipe)], batch), count, asked))
        if count:
            at_once, later = self.model.sent(sent)
            self.model.pop(where, batch.through_first(count))
            for to, new in later:
                self.model.defer(to, new, due_us)
            for to, new in at_once.items():
                self._appended(to, new)

    @precondition(lambda self: self.model.tokens)
    @rule(data=st.data(), limit=limits)
    def fail(self, data: st.DataObject, limit: int) -> None:
        pipe = data.draw(st.sampled_from(self.pipes_held()))
        self.stock(pipe)
        self._take(pipe, limit)
        assert run(self.storage.fail(self.hand(pipe))).attempts == self.model.tubes[self.model.first(pipe)].fail()

    @precondition(lambda self: self.model.tokens)
    @rule(data=st.data(), limit=limits, at_most=st.integers(1, 4))
    def give_back(self, data: st.DataObject, limit: int, at_most: int) -> None:
        pipe = data.draw(st.sampled_from(self.pipes_held()))
        self.stock(pipe)
        self._take(pipe, limit)
        run(self.storage.give_back(self.hand(pipe), at_most))
        self.model.tubes[self.model.first(pipe)].give_back(at_most)

    @precondition(lambda self: self.model.tokens)
    @rule(data=st.data(), letter=message)
    def bury(self, data: st.DataObject, letter: bytes) -> None:
        pipe = data.draw(st.sampled_from(self.pipes_held()))
        self.stock(pipe)
        self._bury(pipe, letter)

    def _bury(self, pipe: str, letter: bytes) -> None:
        hand, sequence = self.hand(pipe), self.model.tubes[self.model.first(pipe)].queued[0][0]
        assert run(self.storage.bury(hand, sequence + 1, GRAVE, b"of no message at the head")) is True
        assert run(self.storage.bury(hand, sequence, GRAVE, letter)) is True
        self._buried(pipe, letter)

    def _buried(self, pipe: str, letter: bytes) -> None:
        self.model.bury(pipe, GRAVE, letter, run(self.storage.range(GRAVE, ALL)).through - 1)

    @rule(place=places, pipe=pipes, back=message, front=st.booleans())
    def requeue(self, place: int, pipe: str, back: bytes, front: bool) -> None:
        number = self.letter(place)
        done = run(self.storage.requeue(GRAVE, number, pipe, back, front=front))
        if number == NO_LETTER:
            assert done is None
            return
        assert done is True
        self._requeued(number, pipe, back, front)

    def _requeued(self, number: int, pipe: str, back: bytes, front: bool) -> None:
        numbers = run(self.storage.range(pipe, ALL)).numbers
        at = numbers[len(self.model.tubes[in_front(pipe)].queued)] if front else numbers[-1]
        self.model.requeue(GRAVE, number, in_front(pipe) if front else pipe, back, at)

    @rule(some=st.lists(places, max_size=3, unique=True))
    def drop(self, some: list[int]) -> None:
        numbers = list({self.letter(place) for place in some})
        assert run(self.storage.drop(GRAVE, *numbers)) == self.model.drop(GRAVE, numbers)

    @rule(pipe=pipes, wanted=st.lists(message, max_size=2))
    def remove(self, pipe: str, wanted: list[bytes]) -> None:
        assert run(self.storage.remove(pipe, *wanted)) == self.model.remove(pipe, wanted)

    @rule(key=keys)
    def claim(self, key: str) -> None:
        token = run(self.storage.claim(key))
        if key in self.model.tokens:
            assert token == 0
            return
        self._claimed(key, token)

    def _claimed(self, key: str, token: int) -> None:
        assert token > self.last_token
        self.last_token = token
        self.model.claim(key, token)

    @precondition(lambda self: self.model.tokens)
    @rule(place=places, pause_s=st.sampled_from([0.0, 0.0, HOUR_S]))
    def unclaim(self, place: int, pause_s: float) -> None:
        key = sorted(self.model.tokens)[place % len(self.model.tokens)]
        token = self.model.tokens[key]
        assert not run(self.storage.unclaim(key, token + 1))
        assert run(self.storage.unclaim(key, token, pause_s))
        assert not run(self.storage.unclaim(key, token))
        self.model.unclaim(key, paused=pause_s > 0)

    @rule(pipe=pipes, age=st.integers(-1, 2))
    def stale_token_changes_nothing(self, pipe: str, age: int) -> None:
        token = self.last_token - age
        if token == self.model.tokens.get(key_of(pipe)):
            return
        attempts: list[Coroutine[Any, Any, object]] = [
            hands.take(self.storage, [pipe], 1, token),
            hands.pop(self.storage, pipe, 1 << 50, token),
            hands.fail(self.storage, pipe, token),
            hands.bury(self.storage, pipe, 0, token, GRAVE, b""),
        ]
        for attempt in attempts:
            with pytest.raises(FencedError):
                run(attempt)

    @precondition(outlives_processes)
    @rule(pipe=pipes, limit=limits, done=places)
    def die_with_messages_in_hand(self, pipe: str, limit: int, done: int) -> None:
        key = key_of(pipe)
        self.free(key)
        self.stock(pipe)

        def live() -> tuple[int, list[int]]:
            token = run(self.storage.claim(key))
            batch = run(hands.take(self.storage, [pipe], limit, token))
            run(self.storage.pop(Hand(key, token, batch), min(done, batch.count)))
            return token, [batch.sequence, batch.through, batch.through_first(min(done, batch.count))]

        where = self.model.first(pipe)
        tube, expected = self.model.tubes[where], self.model.tubes[where].batch(limit)
        token, (first, through, popped) = Child(live).result()
        self._claimed(key, token)
        if expected:
            assert (first, through) == (expected[0][0], expected[-1][0] + 1)
            tube.handed = through
            self.model.pop(where, popped)
        self._dead(key)

    @precondition(outlives_processes)
    @rule(pipe=pipes, after=lines, new=messages)
    def die_appending(self, pipe: str, after: int, new: list[bytes]) -> None:
        before = self.model.messages(pipe)
        self._killed(after, lambda: run(self.storage.append([(pipe, new)])))
        found = run(self.storage.range(pipe, ALL)).messages
        assert found in (before, before + new)
        if found != before:
            self._appended(pipe, new)

    @precondition(outlives_processes)
    @rule(pipe=pipes, after=lines, verb=st.sampled_from(["pop", "fail", "bury"]))
    def die_with_one_in_hand(self, pipe: str, after: int, verb: str) -> None:
        key = key_of(pipe)
        self.free(key)
        self.stock(pipe)
        tube, hand = self.model.tubes[self.model.first(pipe)], Hand(key, 0, EMPTY)

        def ready() -> None:
            nonlocal hand
            token = run(self.storage.claim(key))
            hand = Hand(key, token, run(hands.take(self.storage, [pipe], 1, token)))

        verbs: dict[str, Callable[[], object]] = {
            "pop": lambda: run(self.storage.pop(hand, 1)),
            "fail": lambda: run(self.storage.fail(hand)),
            "bury": lambda: run(self.storage.bury(hand, hand.batch.sequence, GRAVE, b"letter")),
        }
        self._killed(after, verbs[verb], ready)
        self.last_token += 1  # the dead one had it
        self.model.claim(key, self.last_token)
        self._take_up_what_it_did(pipe, tube, verb)
        self._dead(key)

    def _take_up_what_it_did(self, pipe: str, tube: TubeModel, verb: str) -> None:
        """The message is still in its tube and the death will count, or it is where it was to go."""
        head = tube.queued[0][0]
        found = run(self.storage.range(pipe, 1))
        if found.count and found.sequence == head and len(self.model.messages(pipe)) == run(self.storage.length(pipe)):
            tube.handed = head + 1  # whether it failed or its holder died of it: it counts once
            self._check_letters()
            return
        assert verb != "fail"
        if verb == "bury":
            self._buried(pipe, b"letter")
        else:
            self.model.pop(self.model.first(pipe), head + 1)

    def _check_letters(self) -> None:
        """A burial cut off may have cost letters, the oldest first."""
        letters = self.model.graves[GRAVE]
        batch = run(self.storage.range(GRAVE, ALL))
        assert len(letters.queued) - batch.count in (0, 1)
        letters.queued = letters.queued[len(letters.queued) - batch.count :]

    @precondition(outlives_processes)
    @rule(place=places, pipe=pipes, after=lines, front=st.booleans())
    def die_putting_back(self, place: int, pipe: str, after: int, front: bool) -> None:
        number, letters = self.letter(place), self.model.graves[GRAVE]
        self._killed(after, lambda: run(self.storage.requeue(GRAVE, number, pipe, b"back", front=front)))
        batch = run(self.storage.range(pipe, ALL))
        if batch.count == len(self.model.messages(pipe)):
            assert run(self.storage.range(GRAVE, ALL)).count == len(letters.queued)
            return
        self._requeued(number, pipe, b"back", front)

    def _killed(self, after: int, act: Callable[[], object], ready: Callable[[], object] = lambda: None) -> None:
        """Another process is killed before a line of `act`, or ends with it done."""

        def attached() -> None:
            self.store.inspection.counts()
            ready()

        status = Child(dying_after(after, attached, act)).end()
        assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL

    def _dead(self, key: str) -> None:
        """The thread of the dead goes to this process, which finds what was left."""
        self.model.die(key)
        self._claimed(key, run(self.storage.claim(key)))

    @invariant()
    def tubes_and_graves_hold_the_same(self) -> None:
        assert sorted(run(self.storage.pipes())) == sorted(self.model.pipes())
        for pipe in {name.removesuffix("^") for name in self.model.tubes}:
            held = self.model.messages(pipe)
            assert run(self.storage.range(pipe, ALL)).messages == held
            assert run(self.storage.range(pipe, 2)).messages == held[:2]
            assert run(self.storage.length(pipe)) == len(held)
        for pipe, grave in self.model.graves.items():
            assert run(self.storage.range(pipe, ALL)).messages == grave.messages
        assert run(self.storage.graves()) == [pipe for pipe, grave in self.model.graves.items() if grave.queued]

    @invariant()
    def backlog_agrees(self) -> None:
        dead = sum(len(grave.queued) for grave in self.model.graves.values())
        accepted, handled = self.model.accepted, self.model.handled
        deferred, recurrent = len(self.model.waiting), len(self.model.recurrent)
        letters = self.model.buried, dead
        expected = Counts(accepted, handled, *letters, deferred, recurrent, self.model.evicted)
        assert run(self.storage.backlog()) == expected

    @invariant()
    def what_waits_agrees(self) -> None:
        found = [(one.pipe, one.message, one.due_us) for one in self._waiting()]
        assert found == [(one.pipe, one.message, one.due_us) for one in self.model.in_due_order()]

    @invariant()
    def schedules_agree(self) -> None:
        found = listed(lambda after: run(self.storage.scheduled(after)))
        assert {(one.pipe, one.message): (one.schedule, one.due_us) for one in found} == self.model.recurrent
        assert [one.due_us for one in found] == sorted(one.due_us for one in found)

    @invariant()
    def the_next_due_time_agrees(self) -> None:
        dues = [one.due_us for one in self.model.waiting] + [due_us for _, due_us in self.model.recurrent.values()]
        assert run(self.storage.promote()) == min(dues, default=None)

    @invariant()
    def work_is_offered_in_turn(self) -> None:
        ready = self.model.ready()
        found = {run(self.storage.wait(None, 0)) for _ in range(max(1, len(ready)))}
        assert found - {None} == ready


def _forget(waiting: list[Waiting], gone: Waiting) -> None:
    """Take this very one out, and not an equal one."""
    del waiting[next(place for place, one in enumerate(waiting) if one is gone)]


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_driver_does_what_plain_lists_do(driver: Driver) -> None:
    machine = type("Machine", (DriverModel,), {"driver": driver})
    # A death takes as long as many other steps, and so do calls over a network.
    examples = 100 if {"immediate", "lifelong_claims"} & driver.capabilities == {"immediate"} else 12
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None, print_blob=True)
    )
