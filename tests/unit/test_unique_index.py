"""The table of equal messages: what lives is found, what does not takes no room, and growing loses nothing."""

from __future__ import annotations

from random import Random

import pytest

from shardq.shm import unique_index
from shardq.shm import words as at
from shardq.shm.memory.extents import Extents
from shardq.shm.segment import Segment
from shardq.shm.unique_index import ADDRESS_BITS, UNLISTED, UniqueIndex
from shardq.shm.words import ALL, EQUAL_STEP, GENERAL, WORD
from tests.support.drivers import MIB
from tests.support.segments import NewSegment, NewStore

Entry = tuple[int, int]
TUBE = 5 << ADDRESS_BITS


class Listing:
    """A table, and which of its entries are living."""

    def __init__(self, segment: Segment) -> None:
        self.words = segment.words
        self.layout = segment.layout
        self.living: dict[Entry, int] = {}
        """Digest of each."""
        self.extents = Extents(segment)
        self.table = UniqueIndex(segment, self.extents, lambda record, number: (record, number) in self.living)

    def insert(self, digest: int, record: int, number: int) -> bool:
        self.living[record, number] = digest
        return self.table.insert([digest], record, number, share=GENERAL)

    def check(self) -> None:
        """All that live are found."""
        for entry, digest in self.living.items():
            assert entry in self.table.find(digest)

    @property
    def places(self) -> int:
        return 1 << (self.words[at.EQUALITY_STATE] >> 1 & 127)

    @property
    def moving(self) -> bool:
        return bool(self.words[at.EQUALITY_STATE] >> 8 & 255)


@pytest.fixture
def listing(new_segment: NewSegment) -> Listing:
    return Listing(new_segment(4 * MIB))


def test_an_empty_table_finds_nothing_and_takes_no_memory(segment: Segment) -> None:
    before = segment.used_bytes
    listing = Listing(segment)

    assert listing.table.find(1) == []
    listing.table.forget()
    assert segment.used_bytes == before


def test_what_was_inserted_is_found(listing: Listing) -> None:
    assert listing.insert(7, 96, 1)
    assert listing.insert(8, 96, 2)

    assert listing.table.find(7) == [(96, 1)]
    assert listing.table.find(8) == [(96, 2)]
    assert listing.table.find(9) == []


def test_entries_of_one_record_are_inserted_together(listing: Listing) -> None:
    digests = [n * 977 + 1 for n in range(700)]
    listing.living = {(96, 40 + n): digest for n, digest in enumerate(digests)}

    assert listing.table.insert(digests, 96, 40, share=GENERAL)

    listing.check()
    assert 0 < listing.words[at.EQUALITY_ENTRIES] <= len(digests)


def test_what_is_certainly_new_is_known_to_be(listing: Listing) -> None:
    assert listing.insert(7, 96, 1)

    assert listing.table.are_unknown([7, 7 + EQUAL_STEP, 8]) == [False, False, True]


def test_an_entry_stands_once(listing: Listing) -> None:
    for _ in range(3):
        assert listing.insert(7, 96, 1)

    assert listing.table.find(7) == [(96, 1)]


def test_of_equal_messages_in_a_tube_the_last_stands_for_all(listing: Listing) -> None:
    for number in (1, 2, 9, 4):
        assert listing.insert(7, TUBE | 96, number)

    assert listing.table.find(7) == [(TUBE | 96, 9)]


@pytest.mark.parametrize("spread", [1, EQUAL_STEP - 1, EQUAL_STEP, 1 << 20], ids=lambda n: f"by-{n}")
def test_digests_that_collide_do_not_hide_one_another(listing: Listing, spread: int) -> None:
    """All of them next to each other, at the end of the table, or in the very same place."""
    for n in range(400):
        assert listing.insert((1 << 30) - 1 + n * spread, 96 * (n + 1), n)
    listing.check()


@pytest.mark.parametrize("count", [100, 300, 3000, 20_000])
def test_growing_loses_nothing(listing: Listing, count: int) -> None:
    random = Random(count)
    for n in range(count):
        assert listing.insert(random.getrandbits(64) or 1, 96, n)
        if n % 997 == 0:
            listing.check()
    listing.check()
    assert 2 * count <= listing.places or listing.moving


@pytest.mark.parametrize("kept", [0, 1, 40, 400])
def test_a_table_of_few_living_ones_does_not_grow(listing: Listing, kept: int) -> None:
    """However many entries come, of which only the newest are living."""
    random, most = Random(kept), 0
    for n in range(20_000):
        assert listing.insert(random.getrandbits(64) or 1, 96, n)
        listing.living.pop((96, n - kept), None)
        most = max(most, listing.places)
    listing.check()
    assert most <= max(2 * EQUAL_STEP, 16 * kept)


def test_a_table_shrinks_with_what_lives(listing: Listing) -> None:
    random = Random(1)
    for n in range(20_000):
        assert listing.insert(random.getrandbits(64) or 1, 96, n)
    largest = listing.places
    listing.living = {entry: digest for entry, digest in listing.living.items() if entry[1] >= 19_900}
    for n in range(20_000, 80_000):
        assert listing.insert(random.getrandbits(64) or 1, 96, n)
        listing.living.pop((96, n - 100))
    listing.check()
    assert listing.places <= largest // 16


def test_a_next_table_that_needs_less_memory_than_it_has_gives_it_back(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of what lived when it got its first memory is dead when it begins."""
    monkeypatch.setattr(unique_index, "_BACKED_AT_ONCE", 1)
    random, n, state = Random(6), 0, 0
    while listing.moving or state >> 17 < 3:
        n += 1
        assert listing.insert(random.getrandbits(64) or 1, 96, n)
        state = listing.words[at.EQUALITY_STATE]
    listing.living.clear()

    assert listing.insert(1, 96, n + 1)

    begun = listing.words[at.EQUALITY_STATE] & 1
    assert listing.moving
    assert begun != state & 1
    steps = listing.layout.equality_map + begun * listing.layout.equality_steps
    backed = listing.extents._segment.bytes[steps : steps + listing.layout.equality_steps]
    assert backed.count(1) == listing.places // EQUAL_STEP


def test_what_is_older_does_not_come_back_when_it_is_moved(listing: Listing) -> None:
    """The newer entry is in the current table already when the former one is emptied."""
    random, number = Random(2), 0
    twice = [random.getrandbits(64) or 1 for _ in range(200)]
    for digest in twice:
        assert listing.insert(digest, TUBE | 96, number)
        number += 1
    while not listing.moving:
        assert listing.insert(random.getrandbits(64) or 1, TUBE | 96, number)
        number += 1
    for digest in twice:
        assert listing.insert(digest, TUBE | 960, number)
        number += 1
    while listing.moving:
        assert listing.insert(random.getrandbits(64) or 1, TUBE | 96, number)
        number += 1

    newest = [listing.table.find(digest) for digest in twice]
    assert all(found and max(said for _, said in found) >= number - 400 for found in newest)
    assert [found[-1][0] for found in newest] == [TUBE | 960] * len(twice)


def test_many_pending_ones_of_one_digest_stay_cheap(listing: Listing) -> None:
    """Not all have an entry then, and that is said."""
    for n in range(500):
        assert listing.insert(7, 96 * (n + 1), n)
    found = listing.table.find(7)
    assert len(found) < 40
    assert (UNLISTED << ADDRESS_BITS, 1) in found

    listing.living.clear()
    listing.table.list_all(7)
    assert (UNLISTED << ADDRESS_BITS, 1) not in listing.table.find(7)
    assert listing.insert(7, 96, 1000)
    assert (96, 1000) in listing.table.find(7)


def test_a_full_segment_refuses_and_keeps_what_there_is(new_segment: NewSegment) -> None:
    segment = new_segment(256 << 10, 16)
    listing, random, n = Listing(segment), Random(3), 0
    while listing.insert(random.getrandbits(64) or 1, 96, n):
        n += 1
    del listing.living[96, n]
    listing.check()
    assert n > EQUAL_STEP

    for entry in list(listing.living)[::2]:
        del listing.living[entry]
    for number in range(n // 2):
        assert listing.insert(random.getrandbits(64) or 1, 192, number), f"refused after {number} of {n // 2}"
    listing.check()


class Dying:
    """The words of a segment, to a process that dies before one of its next stores."""

    def __init__(self, words: memoryview[int], stores: int) -> None:
        self._words = words
        self._stores = stores

    def __getitem__(self, word: int) -> int:
        return self._words[word]

    def __setitem__(self, word: int, value: int) -> None:
        if not self._stores:
            raise SystemExit
        self._stores -= 1
        self._words[word] = value


def test_a_death_while_dead_entries_are_taken_out_loses_nothing_that_lives(
    new_segment: NewSegment, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing, random, n = Listing(new_segment(256 << 10, 16)), Random(5), 0
    while listing.insert(random.getrandbits(64) or 1, 96, n):
        n += 1
    del listing.living[96, n]
    for stores in range(120):
        for entry in random.sample(sorted(listing.living), 8):
            del listing.living[entry]
        monkeypatch.setattr(listing.table, "_words", Dying(listing.words, stores))
        with pytest.raises(SystemExit):
            listing.table.insert([random.getrandbits(64) or 1 for _ in range(120)], 192, 1, share=GENERAL)
        monkeypatch.undo()
    listing.check()
    table = listing.layout.equality_table(listing.words[at.EQUALITY_STATE] & 1) // WORD
    taken = sum(map(bool, listing.words[table : table + listing.places * at.EQUAL_WORDS : at.EQUAL_WORDS]))
    assert n // 2 < taken <= listing.words[at.EQUALITY_ENTRIES] <= listing.places * 7 // 8


def test_an_entry_that_a_death_left_without_its_number_names_no_message(new_store: NewStore) -> None:
    """What stands before the messages of its record looks like ends of others."""
    store, pipe = new_store(), "m/H/0/0"
    assert store.appending.append([(pipe, [b"\xff" * 40] * 30)])
    assert store.appending.append_absent([(pipe, [b"last"])]) == 1
    words, first = store.segment.words, store.segment.layout.equality_table(0) // WORD
    places = range(first, first + EQUAL_STEP * at.EQUAL_WORDS, at.EQUAL_WORDS)
    [word] = [word for word in places if words[word] and words[word + at.EQUAL_NUMBER] == 30]
    words[word + at.EQUAL_NUMBER] = 0

    assert store.appending.append_absent([(pipe, [b"last"])]) == 1


def test_stale_entries_do_not_refuse(new_segment: NewSegment) -> None:
    segment = new_segment(256 << 10, 16)
    listing, random = Listing(segment), Random(4)
    for n in range(30_000):
        assert listing.insert(random.getrandbits(64) or 1, 96, n), f"refused after {n}"
        listing.living.pop((96, n - 50), None)
    listing.check()


def test_forgetting_gives_all_memory_back(segment: Segment) -> None:
    before = segment.used_bytes
    listing = Listing(segment)
    for n in range(900):
        assert listing.insert(n * 977 + 1, 96, n)
    assert segment.used_bytes > before

    listing.table.forget()

    assert segment.used_bytes == before
    assert listing.table.find(1) == []
    assert listing.insert(1, 96, 1)


def test_a_step_that_another_process_left_full_is_emptied(listing: Listing) -> None:
    """Its memory was there and its byte was not: what stands in it says nothing."""
    start = listing.layout.equality_table(0)
    assert listing.extents.secure(start, at.EQUAL_STEP_BYTES, share=ALL)
    listing.extents._segment.bytes[start : start + at.EQUAL_STEP_BYTES] = b"\xff" * at.EQUAL_STEP_BYTES

    assert listing.insert(7, 96, 1)
    assert listing.table.find(7) == [(96, 1)]
    assert listing.table.find((1 << 64) - 1) == []


@pytest.mark.parametrize("entries", [0, 255, 1 << 20])
def test_a_wrong_count_of_entries_does_no_harm(listing: Listing, entries: int) -> None:
    """A death between an entry and its count leaves it too low, one between two tables too high."""
    random = Random(entries)
    for n in range(200):
        assert listing.insert(random.getrandbits(64) or 1, 96, n)
    listing.words[at.EQUALITY_ENTRIES] = entries
    for n in range(200, 230):
        assert listing.insert(random.getrandbits(64) or 1, 96, n)
    listing.check()


def test_digests_tell_pipes_and_segments_apart(new_segment: NewSegment) -> None:
    here, there = Listing(new_segment()), Listing(new_segment())
    messages = [b"", b"a", b"b"]

    ours = here.table.digests("m/H/0/0", messages)

    assert len({*ours, *here.table.digests("m/H/0/1", messages)}) == 6
    assert here.table.digests("m/H/0/0", messages) == ours
    assert not set(ours) & set(there.table.digests("m/H/0/0", messages))
    assert all(ours)
