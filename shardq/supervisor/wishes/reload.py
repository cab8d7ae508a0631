"""New code without an end of the supervisor: a probe imports it first, then the supervisor executes itself anew.

The process keeps its pid, its children and its record locks. What the new program must know of them is an argument of
its command line.
"""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from shardq.model import Counts
from shardq.supervisor.code.program import Program
from shardq.supervisor.exits import Exit
from shardq.supervisor.output import standard
from shardq.supervisor.wishes.drain import DrainBegun
from shardq.supervisor.wishes.signals import LISTENED, UNHEARD, fork, reset_in_child
from shardq.supervisor.wishes.terminal import Terminal

RESUME, PROBE = "--resume", "--probe"


class Resumption(NamedTuple):
    """What a supervisor passes to itself when it executes itself anew."""

    lock: int
    """Descriptor of the segment's lock file: closing it would drop the locks."""
    slot: int
    life: int
    life_writer: int
    workers: int
    """How many are wanted."""
    numbered: int
    members: dict[int, int]
    """Numbers of the workers by pid."""
    drain: DrainBegun | None
    """The beginning of the drain, None: there is none."""
    terminal: Terminal = Terminal()
    """The terminal that the supervisor was started from."""
    family: str = ""
    """What it and its workers are called on a server."""
    others: Sequence[int] = ()
    """Further descriptors that stay open, as the line to the application."""

    def inherit(self, inheritable: bool) -> None:
        """Whether programs that this process executes or starts have these descriptors."""
        for descriptor in (self.lock, self.life, self.life_writer, *self.others):
            os.set_inheritable(descriptor, inheritable)

    def encoded(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def decoded(cls, text: str) -> Resumption:
        fields = json.loads(text)
        fields["members"] = {int(pid): number for pid, number in fields["members"].items()}
        begun = fields["drain"]
        fields["drain"] = DrainBegun(begun[0], Counts(*begun[1])) if begun else None
        fields["terminal"] = Terminal(*fields.get("terminal", ()))
        return cls(**fields)


def start_probe(program: Program, close: Sequence[int]) -> int:
    """Start a process that imports what this one serves, and ends with 0 if that works. Returns its pid. Raises
    `OSError` where the system refuses the fork.
    """
    pid = fork()
    if pid:
        return pid
    try:
        for descriptor in close:
            os.close(descriptor)
        reset_in_child()
        for number in UNHEARD:
            signal.signal(number, signal.SIG_IGN)  # until the program that is executed listens
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED)
        program.execute(PROBE)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(Exit.WORKER_FAILED)


def execute_again(program: Program, resumption: Resumption) -> NoReturn:
    """Run this program anew in this process. Signals must be held back: see `Signals`. If it raises `OSError`, nothing
    has changed.
    """
    standard.flush()
    try:
        resumption.inherit(True)
        program.execute(RESUME, resumption.encoded())
    finally:
        resumption.inherit(False)
