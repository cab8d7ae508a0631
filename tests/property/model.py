"""What a storage has to do, said with plain lists: tubes, graves, claims, failures."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

Numbered = tuple[int, bytes]


def key_of(pipe: str) -> str:
    return pipe.rpartition("/")[0]


def in_front(pipe: str) -> str:
    """The name under which the model keeps what is in front of a tube."""
    return f"{pipe}^"


@dataclass
class Waiting:
    """A message that waits for its time."""

    pipe: str
    message: bytes
    due_us: int


@dataclass
class TubeModel:
    """One tube, or one grave."""

    queued: list[Numbered] = field(default_factory=list)
    next_number: int = 0
    """The lowest number that the next message may have."""
    handed: int = 0
    """Messages below are with a worker."""
    failed: tuple[int, int] = (-1, 0)
    """The message that failed alone, and how often."""
    limit: int = 0
    limit_through: int = 0
    """Batches are at most so large while the head is below that number."""

    @property
    def messages(self) -> list[bytes]:
        return [message for _, message in self.queued]

    @property
    def in_hand(self) -> list[Numbered]:
        return [(number, message) for number, message in self.queued if number < self.handed]

    @property
    def failures(self) -> int:
        """Of the message at the head."""
        return self.failed[1] if self.queued and self.failed[0] == self.queued[0][0] else 0

    def batch(self, limit: int) -> list[Numbered]:
        """What is handed out to a worker that asks for so many."""
        if self.queued and self.queued[0][0] < self.limit_through:
            limit = min(limit, self.limit)
        return self.queued[: min(limit, 1) if self.failures else limit]

    def pop(self, through: int) -> int:
        before = len(self.queued)
        self.queued = [(number, message) for number, message in self.queued if number >= through]
        return before - len(self.queued)

    def fail(self) -> int:
        """What is in hand has failed; how often its message did alone."""
        if len(self.in_hand) != 1:
            self.give_back(1)
            return 0
        self.failed, self.handed = (self.queued[0][0], self.failures + 1), 0
        return self.failures

    def give_back(self, at_most: int) -> None:
        """Until what is in hand has left, batches have at most so many."""
        if self.in_hand:
            self.limit, self.limit_through = at_most, max(self.limit_through, self.handed)
        self.handed = 0


class Model:
    """A storage."""

    def __init__(self, dead_letters: int) -> None:
        self.tubes: dict[str, TubeModel] = defaultdict(TubeModel)
        self.graves: dict[str, TubeModel] = defaultdict(TubeModel)
        self.tokens: dict[str, int] = {}
        self.paused: set[str] = set()
        self.waiting: list[Waiting] = []
        """In the order of acceptance."""
        self.recurrent: dict[tuple[str, bytes], tuple[str, int]] = {}
        """Schedule and next due time, by pipe and message."""
        self.accepted = self.handled = 0
        self._dead_letters = dead_letters
        self.buried = 0
        self.evicted = 0

    def first(self, pipe: str) -> str:
        """The tube that `take` looks into."""
        return in_front(pipe) if self.tubes[in_front(pipe)].queued else pipe

    def messages(self, pipe: str) -> list[bytes]:
        return self.tubes[in_front(pipe)].messages + self.tubes[pipe].messages

    def pipes(self) -> set[str]:
        """Those that are not empty."""
        return {name.removesuffix("^") for name, tube in self.tubes.items() if tube.queued}

    def append(self, pipe: str, messages: list[bytes], first: int) -> None:
        """Messages were accepted with numbers from `first` on."""
        tube = self.tubes[pipe]
        assert first >= tube.next_number, "numbers of a tube are not used again"
        tube.queued += enumerate(messages, first)
        tube.next_number = first + len(messages)
        self.accepted += len(messages)

    def pop(self, pipe: str, through: int) -> None:
        self.handled += self.tubes[pipe].pop(through)

    def bury(self, pipe: str, grave: str, letter: bytes, number: int) -> None:
        """The message at the head of the tube has become the letter of this number."""
        letters = self.graves[grave]
        assert number >= letters.next_number, "numbers of a grave are not used again"
        self.buried += 1
        self.evicted += max(0, len(letters.queued) + 1 - self._dead_letters)
        letters.queued = [*letters.queued, (number, letter)][-self._dead_letters :]
        letters.next_number = number + 1
        tube = self.first(pipe)
        self.pop(tube, self.tubes[tube].queued[0][0] + 1)

    def requeue(self, grave: str, number: int, pipe: str, message: bytes, at: int) -> None:
        """The letter has become the message of the number `at`."""
        self.drop(grave, [number])
        self.append(pipe, [message], at)

    def drop(self, grave: str, numbers: list[int]) -> int:
        letters = self.graves[grave]
        before = len(letters.queued)
        letters.queued = [(number, letter) for number, letter in letters.queued if number not in numbers]
        return before - len(letters.queued)

    def absent(self, pipe: str, messages: list[bytes]) -> list[bytes]:
        """Those that have no equal in the tube, in front of it, or among what waits for its time."""
        present = {*self.messages(pipe), *(waiting.message for waiting in self.waiting if waiting.pipe == pipe)}
        return [message for message in dict.fromkeys(messages) if message not in present]

    def sent(
        self, outputs: list[tuple[str, list[bytes], int | None, bool]]
    ) -> tuple[dict[str, list[bytes]], list[tuple[str, list[bytes]]]]:
        """What of a batch's outputs comes at once, by tube, and what comes later. The batch is still in its tube."""
        at_once, later, earlier = defaultdict[str, list[bytes]](list), list[tuple[str, list[bytes]]](), list[Any]()
        for pipe, messages, span_s, absent in outputs:
            before = [message for other, message in earlier if other == pipe]
            new = [one for one in self.absent(pipe, messages) if one not in before] if absent else messages
            earlier += [(pipe, message) for message in new]
            if span_s:
                later.append((pipe, new))
            elif new:
                at_once[pipe] += new
        return at_once, later

    def defer(self, pipe: str, messages: list[bytes], due_us: int) -> None:
        self.waiting += [Waiting(pipe, message, due_us) for message in messages]

    def in_due_order(self) -> list[Waiting]:
        """What waits, the first due first; of those that are due together by tubes, and in the order of each."""
        return sorted(self.waiting, key=lambda waiting: (waiting.due_us, waiting.pipe))

    def repeat(self, pipe: str, messages: list[bytes], schedule: str, due_us: int, *, absent: bool) -> int:
        """Have messages come again and again; how many were taken."""
        new = [message for message in dict.fromkeys(messages) if (pipe, message) not in self.recurrent]
        for message in new if absent else messages:
            before, _ = self.recurrent.get((pipe, message), ("", 0))
            if before != schedule:
                self.recurrent[pipe, message] = schedule, due_us
        return len(new) if absent else len(messages)

    def unschedule(self, pipe: str, wanted: list[bytes]) -> int:
        return sum(self.recurrent.pop((pipe, message), None) is not None for message in set(wanted))

    def remove(self, pipe: str, wanted: list[bytes]) -> int:
        before = len(self.waiting)
        self.waiting = [one for one in self.waiting if one.pipe != pipe or one.message not in wanted]
        gone = sum(self._remove_queued(one, wanted) for one in (in_front(pipe), pipe))
        return before - len(self.waiting) + gone

    def _remove_queued(self, pipe: str, wanted: list[bytes]) -> int:
        tube = self.tubes[pipe]
        above = tube.handed if key_of(pipe) in self.tokens else 0
        kept = [(number, message) for number, message in tube.queued if number < above or message not in wanted]
        gone = len(tube.queued) - len(kept)
        tube.queued, self.handled = kept, self.handled + gone
        return gone

    def claim(self, key: str, token: int) -> None:
        self.tokens[key] = token
        self.paused.discard(key)
        for tube in self._tubes_of(key):
            tube.handed = 0

    def unclaim(self, key: str, *, paused: bool) -> None:
        del self.tokens[key]
        if paused:
            self.paused.add(key)

    def die(self, key: str) -> None:
        """The worker that held the thread has died with what it had in hand."""
        del self.tokens[key]
        for tube in self._tubes_of(key):
            tube.fail()

    def ready(self) -> set[str]:
        """Threads that are offered to workers."""
        return {key_of(pipe) for pipe, tube in self.tubes.items() if tube.queued} - self.tokens.keys() - self.paused

    def _tubes_of(self, key: str) -> list[TubeModel]:
        return [tube for pipe, tube in self.tubes.items() if key_of(pipe) == key]
