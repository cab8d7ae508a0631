"""What a segment knows of one pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from shardq.model import ELSEWHERE, PipeFacts, WorkerFacts, key_of, priority_of, split_key
from shardq.shm import words as at
from shardq.shm.observing.copies import Copies, signed
from shardq.shm.observing.messages import Reader
from shardq.shm.observing.serving import Serving
from shardq.shm.observing.steadily import Moving, steadily
from shardq.shm.observing.threads import Threads
from shardq.shm.processes.slots import Slots
from shardq.shm.tubes.directory import NOT_FOUND
from shardq.shm.tubes.pauses import pauses_seen
from shardq.shm.verbs.overview import Overviews


class Facts:
    """Looks at one thread, and at the processes that work for the segment."""

    def __init__(self, copies: Copies, threads: Threads, reader: Reader, slots: Slots, overviews: Overviews) -> None:
        self._copies = copies
        self._threads = threads
        self._reader = reader
        self._slots = slots
        self._overviews = overviews

    def of(self, pipe: str) -> PipeFacts:
        """What is known of the pipe. Raises `HandlerError` for what is no pipe."""
        priority, serving = priority_of(pipe), Serving(self._copies, self._slots)
        whole = self._of_all(pipe, self._workers(serving))
        try:
            thread = self._threads.find(key_of(pipe))
            if thread == NOT_FOUND:
                return whole
            return steadily(
                self._copies.segment.name,
                lambda: self._of_thread(whole, priority, thread, serving),
                lambda: self._copies.words_of(thread),
            )
        except Moving:
            return replace(whole, moving=True)

    def _of_all(self, pipe: str, workers: Sequence[WorkerFacts]) -> PipeFacts:
        """What is known without the thread."""
        segment, stand, held = self._copies.segment, self._overviews.stand(), self._overviews.held()
        return PipeFacts(
            pipe,
            standing=stand.standing,
            goes_to=stand.to,
            guard=str(held) if held else "",
            workers=workers,
            supervisors=int(self._overviews.supervised()),
            full=segment.used_bytes / segment.layout.capacity_bytes,
            paused=next((its for its in pauses_seen(segment) or () if its.handler == split_key(key_of(pipe))[0]), None),
        )

    def _of_thread(self, whole: PipeFacts, priority: int, thread: int, serving: Serving) -> PipeFacts:
        """The same with what is known of the thread. Raises `Moving` where its tubes change meanwhile, or it is another
        one by now.
        """
        seen = self._copies.thread(thread)
        if seen.key != key_of(whole.pipe):
            raise Moving
        entries = self._copies.tubes_of(thread, seen)
        tubes = {each: self._words_of(its) for each, its in entries.items()}
        lengths = {each: sum(map(self._reader.length_of, its)) for each, its in tubes.items()}
        filled = [words for words in tubes.get(priority, ()) if self._reader.length_of(words)]
        words = seen.words
        owner = words[at.THREAD_OWNER] if self._slots.alive(words[at.THREAD_OWNER]) else 0
        rests_ns = words[at.THREAD_NOT_BEFORE_NS] - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        found = replace(
            whole,
            queued=lengths.pop(priority, 0),
            others={each: length for each, length in sorted(lengths.items()) if length},
            owner=self._worker((owner & 0xFFFF) - 1, serving) if owner else None,
            taken=self._taken(thread, owner, words[at.THREAD_TAKEN]) if owner else None,
            rests_s=0.0 if owner else max(0, rests_ns) / 1e9,
            deaths=words[at.THREAD_FAILURES],
            served=bool(owner) or serving.serves(words[at.THREAD_HANDLER]),
        )
        if any(self._words_of(its) != tubes[each] for each, its in entries.items()):
            raise Moving
        return _with_failures(found, filled[0]) if filled else found

    def _words_of(self, tubes: Sequence[int]) -> list[tuple[int, ...]]:
        return [self._copies.tube(tube) for tube in tubes]

    def _taken(self, thread: int, owner: int, taken: int) -> int | None:
        """Priority of the batch of this thread that the owner has in hand."""
        slot = self._copies.layout.slot_word((owner & 0xFFFF) - 1)
        if not taken or self._copies.words[slot + at.SLOT_BATCH_THREAD] != thread + 1:
            return None
        words = self._copies.tube(taken - 1)
        return signed(words[at.TUBE_PRIORITY]) if words[at.TUBE_THREAD] == thread + 1 else None

    def _workers(self, serving: Serving) -> list[WorkerFacts]:
        """Those that live: processes of families, and others that looked for work."""
        found, words = list[WorkerFacts](), self._copies.words
        for slot in range(self._copies.layout.slots):
            word = self._copies.layout.slot_word(slot)
            works = words[word + at.SLOT_PID] and (words[word + at.SLOT_WORKER] or serving.looks(slot))
            if works and self._slots.occupied(slot):
                found.append(self._worker(slot, serving))
        return found

    def _worker(self, slot: int, serving: Serving) -> WorkerFacts:
        return WorkerFacts(
            self._overviews.at_work_in(slot),
            "stopped" if self._overviews.process_in(slot)[0] == "stopped" else "running",
            None if self._slots.in_my_namespace(slot) else ELSEWHERE,
            self._overviews.left_s(slot),
            serving.names(slot),
        )


def _with_failures(found: PipeFacts, head: tuple[int, ...]) -> PipeFacts:
    """The same with what the tube at its head knows of failures."""
    if head[at.TUBE_FAILED_SEQUENCE] != head[at.TUBE_HEAD_SEQUENCE]:
        return found
    ago_us = time.time_ns() // 1000 - head[at.TUBE_LAST_FAILED_US]
    attempts, died = head[at.TUBE_ATTEMPTS], bool(head[at.TUBE_FAILED_BY])
    return replace(found, attempts=attempts, failed_ago_s=max(0, ago_us) / 1e6, died=died)
