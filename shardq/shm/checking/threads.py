"""Whether threads and tubes are found by their names, and threads offered that have work."""

from __future__ import annotations

from hashlib import blake2b

from shardq.shm import words as at
from shardq.shm.checking.look import Look, Moment


class Threads(Look):
    """A look at the tables of threads and tubes."""

    def linked(self) -> dict[int, list[int]]:
        """The tube entries of each thread that is found by its name."""
        threads = dict[int, list[int]]()
        index = self.layout.index_word
        for bucket, entry in enumerate(self.words[index : index + self.layout.buckets]):
            if entry:
                with self.noting(f"threads of bucket {bucket}"):
                    self._follow(bucket, entry, threads)
        self._check_maps(threads)
        return threads

    def _follow(self, bucket: int, entry: int, threads: dict[int, list[int]]) -> None:
        while entry:
            thread = entry - 1
            if thread in threads:
                self.wrongs.append(f"thread {thread} is linked twice")
                return
            self._check_name(thread, bucket)
            threads[thread] = self._tubes_of(thread)
            entry = self.words[self.layout.thread_word(thread) + at.THREAD_NEXT]

    def check_states(self, queued: dict[int, int], moment: Moment) -> None:
        """Whether each thread is offered, bound, or at rest, as it has to be with so many messages in its tubes."""
        for thread, count in queued.items():
            state = self.bytes[self.layout.thread_map + thread]
            expected = self._states(thread, count, moment)
            self.expect(state in expected, f"thread {thread} with {count} queued: state {state}, not {expected}")

    def is_grave(self, thread: int) -> bool:
        """Whether the thread is for dead letters, or for results that are kept."""
        return self.has_letters(thread) or bool(self._kind(thread) == at.RESULTS)

    def has_letters(self, thread: int) -> bool:
        """Whether the thread is for dead letters."""
        return bool(self._kind(thread) == at.LETTERS)

    def _kind(self, thread: int) -> int:
        return int(self.words[self.layout.thread_word(thread) + at.THREAD_APART])

    def pipe_of(self, tube: int) -> str:
        """The pipe of a tube."""
        thread = self._word(tube, at.TUBE_THREAD) - 1
        priority = self._word(tube, at.TUBE_PRIORITY)
        signed = int.from_bytes(priority.to_bytes(8, "little"), "little", signed=True)
        return f"{self._name_of(thread).decode()}/{signed}"

    def _name_of(self, thread: int) -> bytes:
        word, address = self.layout.thread_word(thread), self.layout.thread_name(thread)
        return self.bytes[address : address + self.words[word + at.THREAD_NAME_BYTES]]

    def _check_name(self, thread: int, bucket: int) -> None:
        word, name = self.layout.thread_word(thread), self._name_of(thread)
        digest = int.from_bytes(blake2b(name, digest_size=8).digest(), "little")
        self.expect(self.words[word + at.THREAD_HASH] == digest, f"thread {thread}: the hash of {name!r} is wrong")
        self.expect(digest % self.layout.buckets == bucket, f"thread {thread}: {name!r} in bucket {bucket}")

    def _check_maps(self, threads: dict[int, list[int]]) -> None:
        used = set(self.marked(self.layout.thread_map, self.layout.threads))
        linked = set(threads)
        self.expect(used == linked, f"threads in use {_few(used - linked)}, linked {_few(linked - used)}, not both")
        used = set(self.marked(self.layout.tube_map, self.layout.tubes))
        linked = {tube for tubes in threads.values() for tube in tubes}
        self.expect(used == linked, f"tubes in use {_few(used - linked)}, linked {_few(linked - used)}, not both")

    def _tubes_of(self, thread: int) -> list[int]:
        tubes: list[int] = []
        entry = self.words[self.layout.thread_word(thread) + at.THREAD_FIRST_TUBE]
        while 0 < entry <= self.layout.tubes and entry - 1 not in tubes:
            tubes.append(entry - 1)
            self.expect(
                self._word(entry - 1, at.TUBE_THREAD) == thread + 1, f"tube {entry - 1} is not thread {thread}'s"
            )
            entry = self._word(entry - 1, at.TUBE_NEXT)
        self.expect(not entry, f"the tubes of thread {thread} lead nowhere")
        places = [(self._word(tube, at.TUBE_PRIORITY), self._word(tube, at.TUBE_FRONT)) for tube in tubes]
        self.expect(len(set(places)) == len(places), f"thread {thread} has a priority twice: {places}")
        self.expect(all(front in (0, 1) for _, front in places), f"thread {thread}: in front, or not: {places}")
        self.expect(not self.is_grave(thread) or len(tubes) <= 1, f"grave {thread} has tubes {tubes}")
        return tubes

    def _states(self, thread: int, queued: int, moment: Moment) -> set[int]:
        word = self.layout.thread_word(thread)
        owner = self.words[word + at.THREAD_OWNER]
        if owner and self._lives(owner, moment):
            return {at.THREAD_BOUND}
        if not queued:
            return {at.THREAD_IDLE}
        if self.is_grave(thread):
            return {at.THREAD_DEAD_LETTERS}
        self.expect(not owner, f"thread {thread} is bound to the dead {owner:#x}")
        not_before_ns, states = self.words[word + at.THREAD_NOT_BEFORE_NS], set[int]()
        if not_before_ns > moment.since_ns:
            states.add(at.THREAD_PAUSED)
        if not_before_ns <= moment.until_ns:
            states.add(at.THREAD_READY)
        return states

    def _lives(self, owner: int, moment: Moment) -> bool:
        word = self.layout.slot_word((owner & 0xFFFF) - 1)
        if self.words[word + at.SLOT_INCARNATION] != owner >> 16:
            return False
        return moment.lives(self.words[word + at.SLOT_PID])

    def _word(self, tube: int, word: int) -> int:
        return int(self.words[self.layout.tube_word(tube) + word])


def _few(entries: set[int]) -> str:
    """Some of them, for a line of text."""
    some = sorted(entries)[:5]
    return f"{some}{' and others' if len(entries) > len(some) else ''}"
