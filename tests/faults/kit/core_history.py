"""What the processes of a storm over the core said of themselves, and whether that fits the promises.

A line of a process's file is one fact: when, what, and its words. It is marked at its end, so that a process that is
killed while it writes leaves a line that does not count.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MARK = b";"


class Message(NamedTuple):
    """Of a producer's call, which went to so many tubes; and its place among those of the producer in this tube."""

    who: str
    call: int
    tubes: int
    place: int

    def encoded(self) -> bytes:
        return b"%s/%d/%d/%d" % (self.who.encode(), self.call, self.tubes, self.place)

    @classmethod
    def parsed(cls, text: str) -> Message:
        who, *numbers = text.split("/")
        return cls(who, *map(int, numbers))


class Log:
    """The file of a process, which outlives it."""

    def __init__(self, folder: Path, who: str) -> None:
        self._file = os.open(folder / who, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def say(self, what: bytes, *words: bytes) -> None:
        os.write(self._file, b" ".join((b"%d" % time.monotonic_ns(), what, *words, _MARK)) + b"\n")


class Fact(NamedTuple):
    """What a process said: `accepted CALL`, `given PIPE NUMBER MESSAGES` or `done PIPE NUMBER`."""

    at_ns: int
    who: str
    what: str
    words: list[str]


class Storm:
    """What the processes of a storm said, and which of them were killed. `begins`: the first numbers of the tubes."""

    def __init__(self, facts: list[Fact], killed: set[str], begins: dict[str, int]) -> None:
        self._facts = sorted(facts)
        self._killed = killed
        self._begins = begins
        self._given: dict[str, dict[int, Message]] = {pipe: {} for pipe in begins}

    @property
    def messages(self) -> int:
        """How many came."""
        return sum(map(len, self._given.values()))

    def check(self) -> dict[str, int]:
        """Raise `AssertionError` where what was said cannot be. Returns the first numbers of the tubes in the next
        storm.
        """
        self._check_hands()
        for pipe, messages in self._given.items():
            _check_order(pipe, messages, self._begins[pipe])
        self._check_calls()
        return {pipe: begin + len(self._given[pipe]) for pipe, begin in self._begins.items()}

    def _check_hands(self) -> None:
        """What is done does not come again, nor what a living process has, and a number stays with its message."""
        done, holders = dict(self._begins), dict.fromkeys(self._begins, "")
        for _, who, what, words in self._facts:
            if what == "done":
                done[words[0]] = max(done[words[0]], int(words[1]))
            elif what == "given":
                pipe, first, known = words[0], int(words[1]), self._given[words[0]]
                assert first >= done[pipe], f"{pipe}: {first} came again, and all below {done[pipe]} was done"
                again = first in known
                assert not again or holders[pipe] in self._killed, f"{pipe}: {first} of {holders[pipe]} went to {who}"
                holders[pipe] = who
                for number, text in enumerate(words[2:], first):
                    message = Message.parsed(text)
                    assert known.setdefault(number, message) == message, f"{pipe}: {number} was {known[number]}"

    def _check_calls(self) -> None:
        """Each call is in all of its tubes or in none, and each that was accepted is there."""
        tubes: dict[tuple[str, int], set[str]] = defaultdict(set)
        wanted: dict[tuple[str, int], int] = {}
        for pipe, messages in self._given.items():
            for message in messages.values():
                tubes[message.who, message.call].add(pipe)
                wanted[message.who, message.call] = message.tubes
        torn = {call: found for call, found in tubes.items() if len(found) != wanted[call]}
        assert torn == {}, "calls are in some of their tubes only"
        accepted = {(fact.who, int(fact.words[0])) for fact in self._facts if fact.what == "accepted"}
        assert accepted - tubes.keys() == set(), "calls were accepted, and never handled"


def _check_order(pipe: str, messages: dict[int, Message], begin: int) -> None:
    """No number is left out, and each producer's messages come in its order, without a gap and none of them twice."""
    assert sorted(messages) == list(range(begin, begin + len(messages))), f"{pipe}: numbers are missing"
    places: dict[str, int] = defaultdict(int)
    for number in sorted(messages):
        message = messages[number]
        assert message.place == places[message.who], f"{pipe}: {message}, after {places[message.who]} of its producer"
        places[message.who] += 1


def facts_in(folder: Path) -> Iterator[Fact]:
    """All that was said."""
    for path in folder.iterdir():
        for line in path.read_text().split("\n"):
            at_ns, *words = line.split() or [""]
            if words and words[-1] == _MARK.decode():
                yield Fact(int(at_ns), path.name, words[0], words[1:-1])
