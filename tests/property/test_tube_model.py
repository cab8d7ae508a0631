"""A store in a small segment against plain lists: whatever is done in whatever order, both say the same.

The segment is often full, of messages and of entries. What fails and who dies is in `test_driver_model`.

After every step the segment is whole (`fsck`), and its counters agree with what the lists hold.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shardq.errors import DirectoryFull, FencedError, MessageTooLarge
from shardq.shm.store import Store
from tests.faults.kit.fsck import fsck
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.segments import stores

#: Fewer entries than there are pipes, so that drained threads are given up for others.
ENTRIES = 8
CAPACITY_BYTES = MIB
#: Letters that a grave keeps. For lack of room it may keep fewer.
DEAD_LETTERS = 6
GRAVES = ("m/H/dead/0", "m/Other/dead/0")
#: What an empty store of this capacity takes at any time.
ALWAYS_FITS_BYTES = CAPACITY_BYTES // 2
#: Around nothing, around what an extent holds, and large. A single message of 4,036 bytes fills a page exactly.
SIZES = (0, 1, 9, 100, 1000, 3900, 4036, 4096, 20_000, 65_400, 65_536, 200 << 10)

Numbered = tuple[int, bytes]

#: Most of the time one thread, so that much happens to the same tubes.
keys = st.sampled_from([*["m/H/0"] * 8, *(f"m/H/{thread}" for thread in range(1, 8))])
pipes = st.builds("{}/{}".format, keys, st.sampled_from([0, 0, 0, 1, -7]))
#: Few different ones, so that equal messages meet.
message = st.builds(lambda letter, size: letter * size, st.sampled_from([b"a", b"b"]), st.sampled_from(SIZES))
small = st.sampled_from([b"", b"a", b"b", b"a" * 9])
messages = (
    st.lists(message, min_size=1, max_size=5)
    | st.lists(small, min_size=3, max_size=12)
    | st.builds(lambda one, count: [one] * count, message, st.sampled_from([1, 2, 3, 4, 64, 65, 130]))
)
limits = st.sampled_from([0, 1, 2, 3, 4, 60, 64, 65, 1000])
places = st.integers(0, 3)
graves = st.sampled_from(GRAVES)


def key_of(pipe: str) -> str:
    return pipe.rpartition("/")[0]


class TubeModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._resources = ExitStack()
        self.store: Store = self._resources.enter_context(stores())(CAPACITY_BYTES, ENTRIES)
        self.queued: dict[str, list[Numbered]] = defaultdict(list)
        self.next_number: dict[str, int] = defaultdict(int)
        """The lowest number that a pipe's next message may have."""
        self.handed: dict[str, int] = defaultdict(int)
        """Messages of a pipe below this number are in a worker's hands."""
        self.last_gone: dict[str, bytes] = defaultdict(bytes)
        """The message of a pipe that was acknowledged last."""
        self.tokens: dict[str, int] = {}
        self.last_token = 0
        self.accepted = self.handled = self.buried = self.evicted = 0
        self.letters: dict[str, list[Numbered]] = {grave: [] for grave in GRAVES}

    def teardown(self) -> None:
        self._resources.close()

    @rule(pipe=pipes, new=messages)
    def append(self, pipe: str, new: list[bytes]) -> None:
        empty = not any(self.queued.values()) and not any(self.letters.values())
        must_fit = empty and sum(map(len, new)) <= ALWAYS_FITS_BYTES
        try:
            stored = self.store.appending.append([(pipe, new)])
        except MessageTooLarge:
            assert sum(map(len, new)) > ALWAYS_FITS_BYTES
            return
        except DirectoryFull:
            assert not empty or self.tokens
            return
        if not stored:
            assert not must_fit
            return
        self.accepted += len(new)
        self._number(pipe, new)

    def _number(self, pipe: str, new: list[bytes]) -> None:
        before = self.queued[pipe]
        batch = self.store.reading.read(pipe, len(before) + len(new) + 1)
        assert batch.messages == [message for _, message in before] + new
        first = batch.through - len(new)
        assert first >= self.next_number[pipe]
        if before:
            assert first == self.next_number[pipe]
        before.extend(enumerate(new, first))
        self.next_number[pipe] = batch.through

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), limit=limits, again=places, done=places | limits)
    def handle(self, data: st.DataObject, limit: int, again: int, done: int) -> None:
        """Take a batch, take it again smaller or larger, and acknowledge some of it."""
        pipe = self._claimed_pipe(data)
        for size in (limit, again):
            through = self._compare(pipe, size, self.tokens[key_of(pipe)])
            self.handed[pipe] = max(self.handed[pipe], through)
        self._pop(pipe, done)

    def _claimed_pipe(self, data: st.DataObject) -> str:
        mine = sorted(pipe for pipe, queued in self.queued.items() if queued and key_of(pipe) in self.tokens)
        return data.draw(st.sampled_from(mine or [f"{key}/0" for key in sorted(self.tokens)]))

    def _pop(self, pipe: str, count: int) -> None:
        token, gone = self.tokens[key_of(pipe)], self.queued[pipe][:count]
        through = gone[-1][0] + 1 if gone else 0
        hands.pop(self.store.delivering, pipe, through, token)
        hands.pop(self.store.delivering, pipe, through, token)
        del self.queued[pipe][:count]
        self.handled += len(gone)
        if gone:
            self.last_gone[pipe] = gone[-1][1]

    def _compare(self, pipe: str, limit: int, token: int) -> int:
        expected = self.queued[pipe][:limit]
        batch = self.store.reading.read(pipe, limit)
        if token:
            batch = hands.take(self.store.delivering, [pipe], limit, token)
        assert batch.messages == [message for _, message in expected]
        assert batch.count == len(expected)
        if expected:
            assert (batch.sequence, batch.through) == (expected[0][0], expected[-1][0] + 1)
        return batch.through

    @rule(pipe=pipes, age=st.integers(0, 3))
    def pop_with_a_wrong_token(self, pipe: str, age: int) -> None:
        token = self.last_token + 1 - age
        if token == self.tokens.get(key_of(pipe)):
            return
        try:
            hands.pop(self.store.delivering, pipe, 1 << 62, token)
        except FencedError:
            return
        raise AssertionError("a wrong token was taken")

    @rule(pipe=pipes, place=places, other=message | small)
    def remove(self, pipe: str, place: int, other: bytes) -> None:
        """Something that is there, something that left, and something that need not be."""
        wanted = [other, self.last_gone[pipe], *(message for _, message in self.queued[pipe][place : place + 1])]
        above = self.handed[pipe] if key_of(pipe) in self.tokens else 0
        kept = [(number, message) for number, message in self.queued[pipe] if number < above or message not in wanted]
        gone = len(self.queued[pipe]) - len(kept)

        assert self.store.removing.remove(pipe, wanted) == gone

        self.queued[pipe] = kept
        self.handled += gone

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), grave=graves, letter=message | small)
    def bury(self, data: st.DataObject, grave: str, letter: bytes) -> None:
        """A letter in the place of the message at a head, at the cost of the oldest letters perhaps."""
        pipe = self._claimed_pipe(data)
        if not self.queued[pipe]:
            return
        number, before = self.queued[pipe][0][0], self.letters[grave]
        try:
            done = hands.bury(
                self.store.burying, pipe, number, self.tokens[key_of(pipe)], grave, letter, DEAD_LETTERS
            ).buried
        except DirectoryFull:
            return
        batch = self.store.reading.read(grave, DEAD_LETTERS + 1)
        if not done:
            assert batch.messages == [letter for _, letter in before]
            return
        after = [*before, (batch.through - 1, letter)]
        self.evicted += len(after) - batch.count
        self.letters[grave] = after[len(after) - batch.count :]
        assert batch.messages == [letter for _, letter in self.letters[grave]]
        assert 0 < batch.count <= DEAD_LETTERS
        self.last_gone[pipe] = self.queued[pipe].pop(0)[1]
        self.handled += 1
        self.buried += 1

    @rule(grave=graves, place=places, pipe=pipes, back=message | small)
    def requeue(self, grave: str, place: int, pipe: str, back: bytes) -> None:
        number = self._number_of_letter(grave, place)
        try:
            done = self.store.burying.requeue(grave, number, pipe, back)
        except DirectoryFull:
            return
        if place >= len(self.letters[grave]):
            assert done is None
        elif done:
            del self.letters[grave][place]
            self.accepted += 1
            self._number(pipe, [back])

    @rule(grave=graves, some=st.lists(places, max_size=3, unique=True))
    def drop(self, grave: str, some: list[int]) -> None:
        numbers = [self._number_of_letter(grave, place) for place in some]
        kept = [(number, letter) for number, letter in self.letters[grave] if number not in numbers]
        assert self.store.burying.drop(grave, numbers) == len(self.letters[grave]) - len(kept)
        self.letters[grave] = kept

    def _number_of_letter(self, grave: str, place: int) -> int:
        """The number of the letter at a place, or of none."""
        letters = self.letters[grave]
        return letters[place][0] if place < len(letters) else 1 << 40

    @rule(pipe=pipes, limit=limits, wanted=message | small)
    def look(self, pipe: str, limit: int, wanted: bytes) -> None:
        self._compare(pipe, limit, 0)
        assert self.store.reading.contains(pipe, wanted) == any(message == wanted for _, message in self.queued[pipe])

    @rule(key=keys)
    def claim(self, key: str) -> None:
        try:
            token = self.store.delivering.claim(key)
        except DirectoryFull:
            return
        if key in self.tokens:
            assert token == 0
            return
        assert token > self.last_token
        self.last_token = self.tokens[key] = token
        for pipe in self.handed:
            if key_of(pipe) == key:
                self.handed[pipe] = 0

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def unclaim(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.tokens)))
        token = self.tokens.pop(key)

        assert not self.store.delivering.unclaim(key, token + 1)
        assert self.store.delivering.unclaim(key, token)
        assert not self.store.delivering.unclaim(key, token)

    @invariant()
    def lengths_and_names_agree(self) -> None:
        assert sorted(self.store.reading.pipes()) == sorted(pipe for pipe, queued in self.queued.items() if queued)
        for pipe, queued in self.queued.items():
            assert self.store.reading.length(pipe) == len(queued)
        for grave, letters in self.letters.items():
            assert self.store.reading.length(grave) == len(letters)
        assert sorted(self.store.burying.graves()) == sorted(grave for grave in GRAVES if self.letters[grave])

    @invariant()
    def work_is_offered_in_turn(self) -> None:
        ready = {key_of(pipe) for pipe, queued in self.queued.items() if queued} - self.tokens.keys()

        found = {self.store.waiting.find_work(None) for _ in range(max(1, len(ready)))}

        assert found == (ready or {None})

    @invariant()
    def counters_agree(self) -> None:
        dead = sum(map(len, self.letters.values()))
        counts = self.store.inspection.counts()
        assert counts[:4] == (self.accepted, self.handled, self.buried, dead)
        assert counts.evicted == self.evicted
        assert self.store.waiting.quiet() == (not any(self.queued.values()))

    @invariant()
    def memory_stays_within_the_capacity(self) -> None:
        assert self.store.segment.taken_bytes <= CAPACITY_BYTES

    @invariant()
    def the_segment_is_whole(self) -> None:
        assert fsck(self.store.segment) == []


TestTubeModel = TubeModel.TestCase
TestTubeModel.settings = settings(max_examples=60, stateful_step_count=50, deadline=None, print_blob=True)
