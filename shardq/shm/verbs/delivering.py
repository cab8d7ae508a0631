"""Claiming threads, handing out their messages, and acknowledging them: each verb is one guarded section."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress

from msgspec import Struct

from shardq.errors import SegmentBusy, SegmentNoRoom
from shardq.model import EMPTY, NOT_ALONE, AllTerms, Batch, Failed, Hand, Reason, Terms
from shardq.outputs import Output
from shardq.shm import words as at
from shardq.shm.core import Core
from shardq.shm.gate import Gate
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.delivery import Delivery
from shardq.shm.tubes.directory import NO_ROOM, NOT_FOUND, Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.handler_table import HandlerTable
from shardq.shm.verbs.appending import FIRST_SLICE
from shardq.shm.verbs.handing import Handing
from shardq.shm.verbs.outputs import AGAIN, AskedOutputs, Outputs
from shardq.shm.verbs.waiting import Waiting


class Rest(Struct):
    """What `Delivering.rest` found, and whether this process lies down."""

    hand: Hand | None
    asleep: bool
    wait_s: float | None = None
    """In how many seconds the sleeper has to wake by itself; None: it will be rung."""


class Delivering:
    """Verbs of a worker on its thread."""

    def __init__(
        self,
        segment: Segment,
        directory: Directory,
        fifos: Fifos,
        delivery: Delivery,
        claims: Claims,
        handlers: HandlerTable,
        waiting: Waiting,
        outputs: Outputs,
        handing: Handing,
        core: Core,
        section: AbstractContextManager[None],
        gate: Gate,
    ) -> None:
        self._segment = segment
        self._words = segment.words
        self._directory = directory
        self._fifos = fifos
        self._delivery = delivery
        self._claims = claims
        self._handlers = handlers
        self._waiting = waiting
        self._outputs = outputs
        self._handing = handing
        self._core = core
        self._section = section
        self._gate = gate

    def claim(self, key: str) -> int:
        """Bind the thread to this process. Returns the fencing token, 0 where a living process is bound, or where the
        thread is one of dead letters, which no worker serves.
        """
        with self._section:
            if self._words[at.CLOSED] and not self._gate.hands_out():
                return 0
            thread = self._directory.thread(key)
            if thread == NOT_FOUND:
                thread = self._directory.add_thread(key, share=at.ALL)
            if thread == NO_ROOM:
                raise SegmentNoRoom(f"segment {self._segment.name!r} has no room to note a claim on {key!r}")
            if self._directory.apart(thread):
                return 0
            return self._handing.claim(thread)

    def claimed(self, key: str) -> bool:
        """Whether a living process is bound to the thread."""
        if self._claims.seen_owned(key):  # for each batch with callers: the guard is spared
            return True
        with self._section:
            thread = self._directory.thread(key)
            return thread != NOT_FOUND and self._claims.owner(thread) != 0

    def holds(self, key: str, token: int) -> bool:
        """Whether the thread is bound to this process with this token."""
        with self._section:
            thread = self._directory.thread(key)
            return thread != NOT_FOUND and self._claims.current(thread, token)

    def unclaim(self, key: str, token: int, pause_s: float = 0.0) -> bool:
        """End the binding with this token; the thread rests for `pause_s`. False: it was over before."""
        with self._section:
            thread = self._directory.thread(key)
            if thread == NOT_FOUND or not self._claims.current(thread, token):
                return False
            self._handing.release(thread, pause_s)
            return True

    def take(self, key: str, token: int, terms: Terms) -> Batch:
        """Hand messages of the thread to the caller's worker, by these terms: from the head of the first tube that has
        any. Fewer than the limit where earlier ones failed; which tube is first changes with each turn where there is a
        limit of starvation. Raises `FencedError`.
        """
        with self._section:
            thread = self._claims.held(key, token)
            hands_out = not self._words[at.CLOSED] or self._gate.hands_out()
            batch = self._handing.take(key, thread, terms) if hands_out else EMPTY
        return self._fifos.read_out(batch)

    def pop(self, hand: Hand, count: int, outputs: Sequence[Output] = ()) -> bool:
        """Acknowledge the first messages of the batch in hand, and store what they led to in the same commit. False:
        there is no room for that, and nothing changed. Raises `FencedError`.
        """
        asked = self._outputs.asked(outputs, count) if outputs else None
        thread, most = AGAIN, FIRST_SLICE
        through = hand.batch.through_first(count)
        while thread == AGAIN:
            with self._section:
                thread = self._handing.pop(hand, through, asked, most)
            most *= 2
        return thread != NO_ROOM

    def turn(
        self,
        hand: Hand | None,
        names: frozenset[str] | None,
        terms: AllTerms,
        *,
        stay: bool,
        outputs: Sequence[Output] = (),
    ) -> Hand | None:
        """Acknowledge what is in the hand, and hand out more: of its thread, or of the one that is ready next. See
        `Storage.turn`. Raises `FencedError`.
        """
        engine = self._core.engine
        turned = engine.turn(hand, names, terms, stay, outputs) if engine is not None else None
        if turned is None:
            return self._turn(hand, names, terms, outputs, stay=stay)
        left, done, _ = turned if len(turned) == 3 else self._core.called(turned)
        if done:
            return left
        # What C has done is done: only what would come next can be left for want of the guard.
        with suppress(SegmentBusy):
            return self._turn(left, names, terms, stay=stay)
        return left

    def _turn(
        self,
        hand: Hand | None,
        names: frozenset[str] | None,
        terms: AllTerms,
        outputs: Sequence[Output] = (),
        *,
        stay: bool,
    ) -> Hand | None:
        """As `turn`, in Python."""
        asked = self._outputs.asked(outputs, hand.batch.count) if hand and outputs else None
        most = FIRST_SLICE
        while True:
            with self._section:
                thread = self._acknowledged(hand, asked, most)
                if thread == NO_ROOM:
                    return hand
                if thread != AGAIN:
                    found = self._onward(hand, thread, names, terms, stay=stay)
                    break
            most *= 2
        return self._read_out(found)

    def rest(
        self,
        hand: Hand | None,
        names: frozenset[str] | None,
        terms: AllTerms,
        *,
        stay: bool,
        asleep: bool = False,
        may_sleep: bool = True,
    ) -> Rest:
        """As `turn`; where nothing is ready, this process counts as asleep from this section on, and will be rung,
        until it calls this once more with `asleep`, or `Waiting.rise`.
        """
        engine = self._core.engine
        turned = engine.rest(hand, names, terms, stay, asleep, may_sleep) if engine is not None else None
        if turned is None:
            return self._rest(hand, names, terms, stay=stay, asleep=asleep, may_sleep=may_sleep)
        left, done, lies_down = turned if len(turned) == 3 else self._core.called(turned)
        if done:
            return Rest(left, lies_down)
        # As in `turn`. A sleeper has not looked yet, so it comes back at once.
        with suppress(SegmentBusy):
            return self._rest(left, names, terms, stay=stay, asleep=asleep, may_sleep=may_sleep)
        return Rest(left, asleep, 0.0 if asleep else None)

    def _rest(
        self,
        hand: Hand | None,
        names: frozenset[str] | None,
        terms: AllTerms,
        *,
        stay: bool,
        asleep: bool,
        may_sleep: bool,
    ) -> Rest:
        """As `rest`, in Python."""
        waiting = self._waiting
        with self._section:
            thread = self._acknowledged(hand)
            if self._words[at.CLOSED]:
                self._gate.check_stays()
            found = self._onward(hand, thread, names, terms, stay=stay)
            busy = found is not None and found.leads_on_from(hand)
            wait_s = None
            if not busy and may_sleep:
                wait_s = waiting.look_around_to_sleep()
                found = self._onward(hand, thread, names, terms, stay=stay)  # of dead workers, for instance
                busy = found is not None and found.leads_on_from(hand)
            sleeps = may_sleep and not busy
            if asleep:
                waiting.turn_over(sleeps_on=sleeps)
            elif sleeps:
                waiting.sleep()
        return Rest(self._read_out(found), sleeps, wait_s)

    def fail(self, hand: Hand, reason: Reason = "raised") -> Failed:
        """Take back the batch in hand as failed. Returns the failures of its message, `NOT_ALONE` where there were
        several: they are handed out one by one from then on. `reason`: why it failed. Raises `FencedError`.
        """
        with self._section:
            failed = self._handing.taken_back(
                hand, lambda tube: self._delivery.fail(tube, self._fifos.handed(tube)), reason
            )
        return failed or NOT_ALONE

    def give_back(self, hand: Hand, at_most: int, reason: Reason | None = None) -> None:
        """Take back the batch in hand. Until it has left, batches have at most so many messages. `reason`: why it
        failed, if it did. Raises `FencedError`.
        """
        with self._section:
            self._handing.taken_back(hand, lambda tube: self._delivery.give_back(tube, at_most), reason)

    def _acknowledged(self, hand: Hand | None, outputs: AskedOutputs | None = None, most: int = 0) -> int:
        """The thread of the hand, whose batch is acknowledged. -1: there is no hand. Else as `Handing.pop`."""
        if hand is None:
            return -1
        return self._handing.pop(hand, hand.batch.through, outputs, most)

    def _onward(
        self, hand: Hand | None, thread: int, names: frozenset[str] | None, terms: AllTerms, *, stay: bool
    ) -> Hand | None:
        """What a turn does once the batch in the hand is acknowledged."""
        if names is None or names:
            served = self._handlers.served(names)
            self._core.learn_served(names, served)
            self._claims.tallies.have(served.numbers)
        if hand is None:
            self._waiting.look_around()
            return self._next(names, terms)
        if self._words[at.CLOSED] >= at.LEAVING:
            if not hand.batch.count:
                self._gate.check_stays()
            return Hand(hand.key, hand.token, EMPTY)
        if stay and (batch := self._handing.take_by(hand.key, thread, terms)).count:
            return Hand(hand.key, hand.token, batch)
        if not self._others_ready(names):
            return Hand(hand.key, hand.token, EMPTY if stay else self._handing.take_by(hand.key, thread, terms))
        self._waiting.last_served = thread  # another worker of this process may have set it: this thread is the last
        self._handing.release(thread, 0.0)
        return self._next(names, terms)

    def _read_out(self, hand: Hand | None) -> Hand | None:
        """The hand with the messages of its batch, read once the guard is left: they are handed out, so they stay."""
        if hand is not None:
            self._fifos.read_out(hand.batch)
        return hand

    def _others_ready(self, names: frozenset[str] | None) -> bool:
        """Whether a thread of these handlers is ready, and one at all is wanted."""
        if names is not None and not names:
            return False
        self._waiting.look_around()
        return self._claims.next_ready(self._waiting.last_served, self._handlers.served(names)) >= 0

    def _next(self, names: frozenset[str] | None, terms: AllTerms) -> Hand | None:
        """Claim the thread that is ready next, and hand out of it. None: there is none."""
        key = self._waiting.find(names, None)
        if key is None:
            return None
        thread = self._directory.thread(key)
        self._core.learn_thread(thread, key)
        token = self._handing.claim(thread)
        return Hand(key, token, self._handing.take_by(key, thread, terms)) if token else None
