"""Puts messages that wait for their time among those that do, and moves what is due into its tube. Wants the lock of
the storage held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from shardq.drivers.memory.capacity import Capacity
from shardq.drivers.memory.deferred import Pending
from shardq.model import Part, When
from shardq.model.trace import distinct, untraced
from shardq.outputs import Output
from shardq.scheduling.schedule import resolved_us


class Timing:
    """`arrived` is given the pipe and the messages that come into its tube. `on_earlier` is called where the next due
    time is earlier than before. `now_us` gives the time in Unix microseconds.
    """

    def __init__(
        self,
        pending: Pending,
        capacity: Capacity,
        arrived: Callable[[str, Sequence[bytes]], None],
        on_earlier: Callable[[], None],
        now_us: Callable[[], int],
    ) -> None:
        self._pending = pending
        self._capacity = capacity
        self._arrived = arrived
        self._on_earlier = on_earlier
        self._now_us = now_us

    def resolved(self, when: When) -> When:
        """With the instant that it means now."""
        return When(resolved_us(when, self._now_us()), when.schedule)

    def timed(self, outputs: Sequence[Output]) -> list[Output]:
        """The outputs with the instants that their times mean now."""
        return [output._replace(when=self.resolved(output.when)) if output.when else output for output in outputs]

    def defer(self, parts: Sequence[Part], when: When) -> None:
        """Let messages for which there is room come once."""
        with self._earlier():
            for pipe, its in parts:
                self._pending.add(pipe, its, when)

    def repeat(self, parts: Sequence[Part], when: When, kept_part: int) -> int | None:
        """Let messages come again and again. Returns how many, None where there is no room."""
        new = [
            message
            for pipe, its in parts
            for message in distinct(its)
            if untraced(message) not in self._pending.again(pipe)
        ]
        if new:
            # Each has to fit beside all of them when its time comes.
            self._capacity.check(parts[0][0], [*new, max(new, key=len)])
        size = sum(map(len, new))
        if new and not self._capacity.fits(size, kept_part):
            return None
        self._capacity.used_bytes += size
        with self._earlier():
            for pipe, its in parts:
                for message in its:
                    self._pending.repeat(pipe, message, when)
        return sum(len(its) for _, its in parts)

    def promote(self) -> int | None:
        """Move due messages into their tubes. Returns when the next is due."""
        if not self._pending:
            return None
        for pipe, messages in self._pending.take_due(self._now_us(), self._capacity.take):
            self._arrived(pipe, messages)
        return self._pending.next_due_us

    @contextmanager
    def _earlier(self) -> Iterator[None]:
        """At the end of the block, move due messages to their tubes. Where the next due time is earlier than before,
        say so.
        """
        before_us = self._pending.next_due_us
        yield
        due_us = self.promote()
        if due_us is not None and (before_us is None or due_us < before_us):
            self._on_earlier()
