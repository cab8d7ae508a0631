"""Which process has the guard, seen from outside: read from words and from the kernel, without the guard."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from shardq.shm import words as at
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment

#: Seconds between two looks at the same holder. A process that works in the guard has left it long before.
_BETWEEN_LOOKS_S = 0.02


@dataclass(frozen=True)
class Held:
    """The process that has the guard, longer than a change takes."""

    pid: int
    """As that process sees itself."""
    stopped: bool
    """By a signal, a terminal or a debugger."""
    held_s: float | None
    """For how many seconds other processes have waited for it. None: none did for long enough to write it down."""

    elsewhere: bool = False
    """Whether it is in another pid namespace: then it is not known whether it is stopped."""

    def __str__(self) -> str:
        state = ", which is stopped," if self.stopped else ""
        since = "" if self.held_s is None else f" for {self.held_s:.1f} s"
        return f"{named(self.pid, elsewhere=self.elsewhere)}{state} has the guard{since}"


def named(pid: int, *, elsewhere: bool) -> str:
    """A process in a sentence."""
    return f"process {pid} of another pid namespace" if elsewhere else f"process {pid}"


def holder(segment: Segment, slots: Slots) -> Held | None:
    """The process that has the guard and does not leave it. None: no process has it, or only for a moment."""
    first = _attempt(segment, slots)
    if first is None:
        return None
    time.sleep(_BETWEEN_LOOKS_S)
    if _attempt(segment, slots) != first:
        return None
    slot, attempt = first
    pid = segment.words[segment.layout.slot_word(slot) + at.SLOT_PID]
    elsewhere = not slots.in_my_namespace(slot)
    return Held(pid, not elsewhere and _is_stopped(pid), _held_s(segment, slot, attempt), elsewhere)


def stuck(slot: int, attempt: int) -> int:
    """What STUCK_ATTEMPT holds of a process that has the guard."""
    return attempt & ~0xFFFF | slot + 1


def _attempt(segment: Segment, slots: Slots) -> tuple[int, int] | None:
    """The slot of the process that has the guard, and its attempt."""
    words, layout = segment.words, segment.layout
    slot = (words[at.GUARD_OWNER] & 0xFFFF) - 1
    if slot < 0:
        # A process is on its way in or out, or none is.
        trying = (n for n in range(layout.slots) if words[layout.slot_word(n) + at.SLOT_ATTEMPT] & 0xFFFF)
        slot = next((n for n in trying if slots.occupied(n)), -1)
    return (slot, words[layout.slot_word(slot) + at.SLOT_ATTEMPT]) if 0 <= slot < layout.slots else None


def _held_s(segment: Segment, slot: int, attempt: int) -> float | None:
    words = segment.words
    if words[at.STUCK_ATTEMPT] != stuck(slot, attempt):
        return None
    return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - words[at.STUCK_SINCE_NS]) / 1e9


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # it is gone, or this process has no descriptor left to read it with
        return False
    return stat[stat.rindex(b")") + 2 :][:1] in (b"T", b"t")
