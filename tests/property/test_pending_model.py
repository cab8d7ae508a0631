"""What waits for its time against plain lists, while processes die in the middle of everything.

After every step the segment is whole (`fsck`), and holds what the model holds: after a death what it held before or
after, or where a verb counts piece by piece, something between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shardq.model import Scheduled
from shardq.shm.checking.pending import living_messages, pending_of
from shardq.shm.store import Store
from tests.faults.kit.fsck import fsck
from tests.faults.kit.points import Child, dying_after
from tests.faults.kit.scene import settle
from tests.property.pending_model import State, Waiting
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.segments import stores

CAPACITY_BYTES = 16 * MIB
#: While there is no more than this nothing is refused, and all that is due comes.
ALWAYS_FITS_BYTES = CAPACITY_BYTES // 2
NOW_US, AGAIN_US, SKIPPED_US = 1000, 1 << 40, 1 << 51
RARELY, SELDOM = "every 1", "every 2"

pipes = st.sampled_from(["m/H/0/0", "m/H/0/0", "m/H/0/1", "m/H/1/0"])
#: Around what a cell holds, and what stands in an extent of its own.
sizes = st.sampled_from([0, 1, 30, 100, 400, 1900, 2000, 2100, 5000, 70_000])
message = st.builds(lambda letter, size: letter * size, st.sampled_from([b"a", b"b", b"c"]), sizes)
messages = st.lists(message, min_size=1, max_size=4) | st.builds(
    lambda count, start: [b"%d" % n for n in range(start, start + count)],
    st.sampled_from([3, 70, 300]),
    st.integers(0, 90),
)
dues = st.sampled_from([1, 2, 500, NOW_US, NOW_US + 1, 1 << 50])
schedules = st.sampled_from([RARELY, SELDOM])
#: Before how many lines a process dies, 0: it does not.
deaths = st.just(0) | st.integers(1, 250) | st.integers(1, 2500)


class PendingModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._resources = ExitStack()
        self.store: Store = self._resources.enter_context(stores())(CAPACITY_BYTES, 64)
        self.state = State()
        self.skipped = 0

    def teardown(self) -> None:
        self._resources.close()

    @rule(pipe=pipes, new=messages, dies=deaths)
    def append(self, pipe: str, new: list[bytes], dies: int) -> None:
        self._do(lambda: self.store.appending.append([(pipe, new)]), [self.state.append(pipe, new)], True, dies)

    @rule(pipe=pipes, new=messages, due_us=dues, dies=deaths)
    def defer(self, pipe: str, new: list[bytes], due_us: int, dies: int) -> None:
        after = [self.state.defer(pipe, new, due_us)]
        self._do(lambda: self.store.deferring.defer([(pipe, new)], due_us), after, True, dies)

    @rule(pipe=pipes, new=messages, due_us=st.just(0) | dues, dies=deaths)
    def append_absent(self, pipe: str, new: list[bytes], due_us: int, dies: int) -> None:
        after, count = self.state.append_absent(pipe, new, due_us)
        self._do(lambda: self.store.appending.append_absent([(pipe, new)], due_us=due_us), [after], count, dies)

    @rule(pipe=pipes, new=messages, due_us=dues, schedule=schedules, absent=st.booleans(), dies=deaths)
    def repeat(self, pipe: str, new: list[bytes], due_us: int, schedule: str, absent: bool, dies: int) -> None:
        after, count = self.state.repeat(pipe, new, schedule, due_us, absent=absent)
        repeat = self.store.deferring.repeat
        self._do(lambda: repeat([(pipe, new)], schedule, due_us, absent=absent), after, count, dies)

    @rule(now_us=st.sampled_from([1, NOW_US, NOW_US]), dies=deaths)
    def promote(self, now_us: int, dies: int) -> None:
        self._do(lambda: self._promote(now_us), [*self.state.promote(now_us, AGAIN_US)], None, dies)

    def _promote(self, now_us: int) -> None:
        while True:
            before = self.store.inspection.counts()
            promoted = self.store.deferring.promote(now_us)
            found = promoted.recurrent
            if found and not self.store.deferring.recur(found, found.due_us + AGAIN_US):
                return
            if not found and self.store.inspection.counts() == before:
                return

    @rule(pipe=pipes, gone=messages, dies=deaths)
    def cancel(self, pipe: str, gone: list[bytes], dies: int) -> None:
        after, count = self.state.cancel(pipe, gone, recurrent=False)
        self._do(lambda: self.store.deferring.remove(pipe, gone), [after], count, dies, piecemeal=True)

    @rule(pipe=pipes, gone=messages, dies=deaths)
    def unschedule(self, pipe: str, gone: list[bytes], dies: int) -> None:
        after, count = self.state.cancel(pipe, gone, recurrent=True)
        self._do(lambda: self.store.deferring.remove(pipe, gone, recurrent=True), [after], count, dies, piecemeal=True)

    @rule(place=st.integers(0, 9), ends=st.booleans(), dies=deaths)
    def skip(self, place: int, ends: bool, dies: int) -> None:
        """Nothing else is due at the time after it: one that was given with others is put behind what is."""
        recurrent = [each for each in self.state.waiting if each.schedule]
        self.skipped += 1
        next_due_us = None if ends else SKIPPED_US + self.skipped
        if recurrent:
            its = recurrent[place % len(recurrent)]
            scheduled = Scheduled(its.pipe, its.message, its.schedule, its.due_us)
            after = [self.state.skip(its, next_due_us)]
            self._do(lambda: self.store.deferring.skip(scheduled, next_due_us), after, True, dies)

    @rule(pipe=pipes, gone=messages, dies=deaths)
    def remove(self, pipe: str, gone: list[bytes], dies: int) -> None:
        after, count = self.state.remove(pipe, gone)
        self._do(lambda: self.store.removing.remove(pipe, gone), [after], count, dies, piecemeal=True)

    @rule(pipe=pipes, count=st.sampled_from([1, 2, 70, 1000]))
    def handle(self, pipe: str, count: int) -> None:
        key = pipe.rpartition("/")[0]
        token = self.store.delivering.claim(key)
        batch = hands.take(self.store.delivering, [pipe], count, token)
        assert tuple(batch.messages) == self.state.tube(pipe)[:count]
        hands.pop(self.store.delivering, pipe, batch.through, token)
        assert self.store.delivering.unclaim(key, token)
        self.state = self.state.with_tube(pipe, self.state.tube(pipe)[count:])

    def _do(
        self, act: Callable[[], object], after: Sequence[State], result: object, dies: int, *, piecemeal: bool = False
    ) -> None:
        before = self.state
        if dies:
            Child(dying_after(dies, lambda: self.store.inspection.counts(), act)).end()
            settle(self.store)
        else:
            returned = act()
            refused = returned is False or (returned is None and result is not None)
            assert not refused or after[-1].nbytes > ALWAYS_FITS_BYTES, "refused where there is room"
            assert refused or returned == result
        found = self._found()
        if dies and piecemeal:
            assert _between(after[-1], found, before), f"neither {before}, nor {after[-1]}, nor between: {found}"
            self.state = before.reduced_to(found)
            return
        stuck = after[-1].nbytes > ALWAYS_FITS_BYTES
        allowed = [before, *after] if dies or stuck else after[-1:]
        matching = [state for state in allowed if state.same_as(found)]
        assert matching, f"none of {len(allowed)} states: {found}, not {allowed[-1]}"
        self.state = matching[0]

    def _found(self) -> State:
        """What the segment holds, as numbers have it."""
        tubes = tuple(
            sorted(
                (pipe, tuple(self.store.reading.read(pipe, 1 << 30).messages)) for pipe in self.store.reading.pipes()
            )
        )
        waiting = [
            Waiting(each.due_us, 0, each.pipe, message, each.schedule)
            for each in pending_of(self.store.segment)
            for message in living_messages(self.store.segment, each)
        ]
        numbered = [each._replace(order=n) for n, each in enumerate(waiting)]
        return State(tubes, tuple(numbered), max(len(numbered), self.state.next_order))

    @invariant()
    def counters_agree(self) -> None:
        counts = self.store.inspection.counts()
        assert counts.accepted - counts.handled == sum(len(held) for _, held in self.state.tubes)
        recurrent = sum(1 for each in self.state.waiting if each.schedule)
        assert (counts.deferred, counts.recurrent) == (len(self.state.waiting) - recurrent, recurrent)

    @invariant()
    def the_segment_is_whole(self) -> None:
        assert fsck(self.store.segment) == []
        assert self.store.segment.taken_bytes <= CAPACITY_BYTES


def _between(least: State, found: State, most: State) -> bool:
    """Whether the order is the old one, all is there that had to stay, and nothing that was not there."""
    pairs = [(least.tube(pipe), found.tube(pipe), held) for pipe, held in most.tubes]
    shown = [
        [(each.due_us, each.pipe, each.message, each.schedule) for each in s.waiting] for s in (least, found, most)
    ]
    return all(_part(a, b) and _part(b, c) for a, b, c in [*pairs, (shown[0], shown[1], shown[2])])


def _part(part: Sequence[object], whole: Sequence[object]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


TestPendingModel = PendingModel.TestCase
TestPendingModel.settings = settings(max_examples=12, stateful_step_count=30, deadline=None, print_blob=True)
TestPendingModel.pytestmark = pytest.mark.timeout(1800)  # how much work it is depends on what is drawn
