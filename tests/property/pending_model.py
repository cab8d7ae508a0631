"""What waits for its time and what may not be there twice, said with plain lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple


class Waiting(NamedTuple):
    """A message that waits for its time."""

    due_us: int
    order: int
    pipe: str
    message: bytes
    schedule: str = ""


@dataclass(frozen=True)
class State:
    """All that is stored. Every verb returns the state after it, and what it returns."""

    tubes: tuple[tuple[str, tuple[bytes, ...]], ...] = ()
    waiting: tuple[Waiting, ...] = ()
    """The first due first, deferred and recurrent ones."""
    next_order: int = 0

    def tube(self, pipe: str) -> tuple[bytes, ...]:
        return dict(self.tubes).get(pipe, ())

    def of(self, pipe: str, *, recurrent: bool) -> list[bytes]:
        return [each.message for each in self.waiting if each.pipe == pipe and bool(each.schedule) == recurrent]

    @property
    def nbytes(self) -> int:
        queued = sum(len(message) + 100 for _, tube in self.tubes for message in tube)
        return queued + sum(len(each.message) + 300 for each in self.waiting)

    def with_tube(self, pipe: str, messages: Sequence[bytes]) -> State:
        tubes = dict(self.tubes) | {pipe: tuple(messages)}
        return replace(self, tubes=tuple(sorted((name, held) for name, held in tubes.items() if held)))

    def with_waiting(self, waiting: Sequence[Waiting]) -> State:
        return replace(self, waiting=tuple(sorted(waiting)))

    def append(self, pipe: str, messages: Sequence[bytes]) -> State:
        return self.with_tube(pipe, [*self.tube(pipe), *messages])

    def defer(self, pipe: str, messages: Sequence[bytes], due_us: int, schedule: str = "") -> State:
        added = [Waiting(due_us, n, pipe, message, schedule) for n, message in enumerate(messages, self.next_order)]
        return replace(self.with_waiting([*self.waiting, *added]), next_order=self.next_order + len(messages))

    def append_absent(self, pipe: str, messages: Sequence[bytes], due_us: int) -> tuple[State, int]:
        there = {*self.tube(pipe), *self.of(pipe, recurrent=False)}
        fresh = [message for message in dict.fromkeys(messages) if message not in there]
        if not fresh:
            return self, 0
        return (self.defer(pipe, fresh, due_us) if due_us else self.append(pipe, fresh)), len(fresh)

    def repeat(
        self, pipe: str, messages: Sequence[bytes], schedule: str, due_us: int, *, absent: bool
    ) -> tuple[list[State], int]:
        """The states one after another: each change of an equal one counts by itself."""
        states, fresh = [self], []
        for message in dict.fromkeys(messages):
            equal = [each for each in self.waiting if each.schedule and (each.pipe, each.message) == (pipe, message)]
            if not equal:
                fresh.append(message)
            elif not absent and equal[0].schedule != schedule:
                rest = [each for each in states[-1].waiting if each != equal[0]]
                states.append(states[-1].with_waiting(rest).defer(pipe, [message], due_us, schedule))
        if fresh:
            states.append(states[-1].defer(pipe, fresh, due_us, schedule))
        return states, len(fresh) if absent else len(messages)

    def promote(self, now_us: int, again_us: int) -> Iterator[State]:
        """The states one after another, as one message after another comes."""
        state = self
        yield state
        for each in self.waiting:
            if each.due_us <= now_us:
                rest = [other for other in state.waiting if other != each]
                if each.schedule:
                    rest.append(each._replace(due_us=each.due_us + again_us))
                state = state.with_waiting(rest).append(each.pipe, [each.message])
                yield state

    def cancel(self, pipe: str, messages: Sequence[bytes], *, recurrent: bool) -> tuple[State, int]:
        gone = [
            each
            for each in self.waiting
            if each.pipe == pipe and bool(each.schedule) == recurrent and each.message in messages
        ]
        return self.with_waiting([each for each in self.waiting if each not in gone]), len(gone)

    def skip(self, each: Waiting, next_due_us: int | None) -> State:
        """A recurrent one comes at another time, or never (None)."""
        left = [other for other in self.waiting if other != each]
        return self.with_waiting([*left, each._replace(due_us=next_due_us)] if next_due_us else left)

    def remove(self, pipe: str, messages: Sequence[bytes]) -> tuple[State, int]:
        kept = [message for message in self.tube(pipe) if message not in messages]
        return self.with_tube(pipe, kept), len(self.tube(pipe)) - len(kept)

    def reduced_to(self, found: State) -> State:
        """What another state still has of this one. That one was read from a segment, where first is who is due first:
        it does not know who was registered first.
        """
        left, waiting = _shown(found), []
        for each, shown in zip(self.waiting, _shown(self), strict=True):
            if left and left[0] == shown:
                waiting.append(each)
                del left[0]
        return replace(self, tubes=found.tubes, waiting=tuple(waiting))

    def same_as(self, other: State) -> bool:
        """But for the numbers, of which only the order counts."""
        return self.tubes == other.tubes and _shown(self) == _shown(other)


def _shown(state: State) -> list[tuple[int, str, bytes, str]]:
    return [(each.due_us, each.pipe, each.message, each.schedule) for each in state.waiting]
