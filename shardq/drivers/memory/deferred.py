"""The deferred and recurrent messages of the in-memory storage, without waiting, locking or asyncio.

One append is one entry of a heap, by due time and then by acceptance, so entries that are not due are not looked at. A
cancelled entry stays in the heap until its turn, or until most of the heap is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import heapify, heappop, heappush

from shardq.model import Deferred, Scheduled, When, id_of, numbers_in
from shardq.model.trace import untraced
from shardq.pages import Page, page_of
from shardq.scheduling.schedule import next_us


class _Waiting:
    """Messages of one append that wait; of those with a schedule one message each."""

    __slots__ = ("due_us", "messages", "pipe", "schedule")

    def __init__(self, pipe: str, when: When) -> None:
        self.pipe = pipe
        self.due_us, self.schedule = when.due_us or 0, when.schedule
        self.messages: dict[int, bytes] = {}
        """By number, in the order of acceptance."""


class Pending:
    """Messages that wait for their time, and messages that come again and again. Each `When` has an instant."""

    def __init__(self) -> None:
        self.deferred = 0
        """How many messages wait, those with a schedule not counted."""
        self._heap: list[tuple[int, int]] = []
        """Due time and number. What `_waiting` does not have, or has for another time, is cancelled."""
        self._waiting: dict[int, _Waiting] = {}
        """By the number of the first message."""
        self._once: dict[str, dict[bytes, dict[int, int]]] = {}
        """By pipe and message without trace context: the numbers of equal messages, and under which of `_waiting` each
        is.
        """
        self._again: dict[str, dict[bytes, int]] = {}
        """By pipe and message without trace context: the number of the one that comes again and again."""
        self._without_room: list[tuple[int, int]] = []
        """Entries of the heap that were due and found no room."""
        self._next_number = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    @property
    def recurrent(self) -> int:
        return sum(map(len, self._again.values()))

    @property
    def lacks_room(self) -> bool:
        """Whether something is due that found no room."""
        return bool(self._without_room)

    @property
    def next_due_us(self) -> int | None:
        """When the next is due, Unix microseconds; None where nothing waits for a time."""
        while self._heap and self._cancelled(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def once(self, pipe: str) -> Collection[bytes]:
        """The messages of a pipe that wait for their time, without trace contexts."""
        return self._once.get(pipe, ())

    def again(self, pipe: str) -> Collection[bytes]:
        """The messages of a pipe that come again and again, without trace contexts."""
        return self._again.get(pipe, ())

    def add(self, pipe: str, messages: Sequence[bytes], when: When) -> None:
        """Let messages come into their tube once."""
        waiting, equal = _Waiting(pipe, when), self._once.setdefault(pipe, {})
        first = self._next_number
        for number, message in enumerate(messages, first):
            waiting.messages[number] = message
            equal.setdefault(untraced(message), {})[number] = first
        self._next_number += len(messages)
        self.deferred += len(messages)
        self._push(first, waiting)

    def repeat(self, pipe: str, message: bytes, when: When) -> None:
        """Let a message come into its tube again and again. Nothing changes where it has this schedule already."""
        content = untraced(message)
        number = self._again.get(pipe, {}).get(content)
        former = None if number is None else self._waiting[number]
        if former and former.schedule == when.schedule:
            return
        if number is None:
            number = self._next_number
            self._next_number += 1
            self._again.setdefault(pipe, {})[content] = number
        waiting = _Waiting(pipe, when)
        # Its room is taken by the message as it is, which may have another trace context.
        waiting.messages[number] = former.messages[number] if former else message
        self._push(number, waiting)

    def take_due(self, now_us: int, finds_room: Callable[[int], bool]) -> Iterator[tuple[str, list[bytes]]]:
        """The messages that come into each pipe's tube now, in order. A recurrent message stays stored, so its copy of
        so many bytes has to fit as well; without room the message stays due.
        """
        for entry in self._without_room:
            heappush(self._heap, entry)
        self._without_room.clear()
        while (due_us := self.next_due_us) is not None and due_us <= now_us:
            _, number = entry = heappop(self._heap)
            waiting = self._waiting[number]
            if not waiting.schedule:
                self._forget(number, waiting)
                yield waiting.pipe, list(waiting.messages.values())
                continue
            [message] = waiting.messages.values()
            again_us = next_us(waiting.schedule, due_us, now_us)
            if again_us is None:
                self.unschedule(waiting.pipe, {untraced(message)})
            elif finds_room(len(message)):
                waiting.due_us = again_us
                self._push(number, waiting)
            else:
                self._without_room.append(entry)
                continue
            yield waiting.pipe, [message]

    def drop_equal(self, pipe: str, unwanted: Collection[bytes]) -> list[bytes]:
        """Drop the deferred messages that are equal to one of these, which are without trace contexts."""
        equal, dropped = self._once.get(pipe, {}), []
        for message in unwanted:
            for number, first in equal.pop(message, {}).items():
                waiting = self._waiting[first]
                dropped.append(waiting.messages.pop(number))
                if not waiting.messages:
                    del self._waiting[first]
        self._after_dropping(pipe, len(dropped))
        return dropped

    def unschedule(self, pipe: str, unwanted: Collection[bytes]) -> list[bytes]:
        """Drop the recurrent messages that are equal to one of these, which are without trace contexts."""
        again = self._again.get(pipe, {})
        numbers = [again.pop(message) for message in unwanted if message in again]
        dropped = [self._waiting.pop(number).messages[number] for number in numbers]
        if not again:
            self._again.pop(pipe, None)
        self._rebuild()
        return dropped

    def skip(self, skipped: Scheduled, now_us: int) -> list[bytes] | None:
        """Have a recurrent message leave out its next time. Returns what ended with that. None: it has another time."""
        content = untraced(skipped.message)
        number = self._again.get(skipped.pipe, {}).get(content)
        if number is None:
            return None
        waiting = self._waiting[number]
        if (waiting.due_us, waiting.schedule) != (skipped.due_us, skipped.schedule):
            return None
        again_us = next_us(waiting.schedule, waiting.due_us, now_us)
        if again_us is None:
            return self.unschedule(skipped.pipe, {content})
        waiting.due_us = again_us
        self._push(number, waiting)
        self._rebuild()
        return []

    def scheduled(self, after: tuple[int, int] | None, limit: int) -> Page[Scheduled]:
        """The recurrent messages, the next due first, behind one with this due time and number."""
        times = ((waiting.due_us, number) for number, waiting in self._waiting.items() if waiting.schedule)
        page = page_of(times, after, limit)
        found = (
            Scheduled(waiting.pipe, waiting.messages[number], waiting.schedule, due_us)
            for due_us, number in page
            if (waiting := self._waiting[number])
        )
        return Page(found, page.after)

    def page(self, after: Sequence[int] | None, limit: int) -> Page[Deferred]:
        """The deferred messages, the first due first, behind those with this due time and number."""
        keys = (
            (waiting.due_us, number, first)
            for first, waiting in self._waiting.items()
            if not waiting.schedule
            for number in waiting.messages
        )
        page = page_of(keys, after, limit)
        return Page(map(self._shown, page), page.after)

    def find(self, its_id: str) -> Deferred | None:
        """The deferred message of this id. None: it is not there any more."""
        due_us, number, first = key_in(its_id)
        waiting = self._waiting.get(first)
        if waiting is None or waiting.schedule or waiting.due_us != due_us or number not in waiting.messages:
            return None
        return self._shown((due_us, number, first))

    def take_out(self, its_id: str) -> Deferred | None:
        """Drop the deferred message of this id. Returns what it was."""
        found = self.find(its_id)
        if found is None:
            return None
        _, number, first = key_in(its_id)
        content = untraced(found.message)
        waiting, numbers = self._waiting[first], self._once[found.pipe][content]
        del waiting.messages[number], numbers[number]
        if not numbers:
            del self._once[found.pipe][content]
        if not waiting.messages:
            del self._waiting[first]
        self._after_dropping(found.pipe, 1)
        return found

    def _shown(self, key: tuple[int, int, int]) -> Deferred:
        due_us, number, first = key
        waiting = self._waiting[first]
        return Deferred(id_of(*key), waiting.pipe, due_us, waiting.messages[number])

    def _push(self, number: int, waiting: _Waiting) -> None:
        self._waiting[number] = waiting
        heappush(self._heap, (waiting.due_us, number))

    def _forget(self, first: int, waiting: _Waiting) -> None:
        """Forget messages that have come."""
        del self._waiting[first]
        equal = self._once[waiting.pipe]
        for number, message in waiting.messages.items():
            content = untraced(message)
            numbers = equal[content]
            del numbers[number]
            if not numbers:
                del equal[content]
        self._after_dropping(waiting.pipe, len(waiting.messages))

    def _after_dropping(self, pipe: str, count: int) -> None:
        self.deferred -= count
        if pipe in self._once and not self._once[pipe]:
            del self._once[pipe]
        self._rebuild()

    def _rebuild(self) -> None:
        """Free what is cancelled, once it is most of the heap."""
        if len(self._heap) > 2 * len(self._waiting) + 16:
            self._heap = [entry for entry in self._heap if not self._cancelled(entry)]
            heapify(self._heap)

    def _cancelled(self, entry: tuple[int, int]) -> bool:
        due_us, number = entry
        return number not in self._waiting or self._waiting[number].due_us != due_us


def key_in(its_id: str) -> tuple[int, int, int]:
    """Due time and number of a message, and the number of the first of its append. Raises `ConfigurationError`."""
    due_us, number, first = numbers_in(its_id, 3)
    return due_us, number, first
