"""Programs beside the workers, as one that answers for metrics. They do none of the work: however one ends, the family
goes on, and starts it again after a pause. None outlives the family.
"""

from __future__ import annotations

import logging
import os
import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from shardq.supervisor.code import launch
from shardq.supervisor.exits import Exit
from shardq.supervisor.watch import Watch
from shardq.supervisor.wishes.signals import LISTENED, fork, reset_in_child
from shardq.supervisor.workers.member import Member

log = logging.getLogger("shardq.supervisor")

#: Pause before one is started again: the first, doubled up to the last.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.5, 30.0
#: One that lived so long was healthy: the pauses begin anew.
_HEALTHY_S = 60.0


@dataclass
class Companion:
    """A program, and the process that runs it."""

    name: str
    """For the log."""
    module: str
    """Whose `main` it is."""
    words: Sequence[str]
    """Its arguments, beside `--socket` and `--life`."""
    socket: int
    """Descriptor of the socket that it answers at. It stays open in this process."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables of its environment: a command line can be seen by others."""
    process: Member | None = None
    start_at: float = 0.0
    """Monotonic time before which it is not started."""
    started_at: float = 0.0
    pause_s: float = 0.0


class Companions:
    """The companions of a family."""

    def __init__(self, every: Sequence[Companion] = ()) -> None:
        self._every = every

    @property
    def pids(self) -> list[int]:
        return [each.process.pid for each in self._every if each.process]

    @property
    def descriptors(self) -> list[int]:
        """Sockets and pidfds, which no child may keep."""
        pidfds = [each.process.descriptor for each in self._every if each.process and each.process.descriptor >= 0]
        return [*(each.socket for each in self._every), *pidfds]

    @property
    def start_at(self) -> float | None:
        """When the next one is to be started, monotonic time. None: all run."""
        return min((each.start_at for each in self._every if each.process is None), default=None)

    def start(self, watch: Watch, life: int, close: Sequence[int]) -> None:
        """Start those that are due. They end when the pipe `life` ends, and close these descriptors."""
        now = time.monotonic()
        for each in self._every:
            if each.process is None and now >= each.start_at:
                each.started_at = now
                self._start(each, watch, life, close)

    def end(self, watch: Watch) -> None:
        """Kill those that run, and wait for their ends. They hold nothing that would be lost."""
        for each in self._every:
            if each.process:
                each.process.signal(signal.SIGKILL)
                each.process.wait()
                watch.discard_member(each.process)
                each.process, each.start_at = None, 0.0

    def _start(self, each: Companion, watch: Watch, life: int, close: Sequence[int]) -> None:
        try:
            pid = fork()
        except OSError as error:
            log.error(f"cannot start {each.name} now", extra={"error": str(error)})
            each.start_at = each.started_at + _FIRST_PAUSE_S
            return
        if pid == 0:
            _become(each, life, [descriptor for descriptor in close if descriptor != each.socket])
        each.process = Member.of_child(pid, 0)
        watch.add_member(each.process, lambda: self._look(watch, each))

    def _look(self, watch: Watch, each: Companion) -> None:
        death = each.process.reap() if each.process else None
        if each.process is None or death is None:
            return
        watch.discard_member(each.process)
        now, each.process = time.monotonic(), None
        lived_well = now - each.started_at >= _HEALTHY_S
        each.pause_s = _FIRST_PAUSE_S if lived_well else min(max(2 * each.pause_s, _FIRST_PAUSE_S), _LAST_PAUSE_S)
        each.start_at = now + each.pause_s
        log.error(f"{each.name} ended, starting it again", extra={"how": death.how, "next_start_s": each.pause_s})


def _become(companion: Companion, life: int, close: Sequence[int]) -> NoReturn:
    """Execute the program in a forked child."""
    try:
        for descriptor in close:
            os.close(descriptor)
        reset_in_child()
        # They are meant for the supervisor, whose end ends this one: terminals and `timeout` send them to all.
        for number in LISTENED:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        words = [*companion.words, "--socket", str(companion.socket), "--life", str(life)]
        command = launch.command(words, companion.module)
        for descriptor in (companion.socket, life):
            os.set_inheritable(descriptor, True)
        os.execve(command[0], command, {**os.environ, **companion.secrets})
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(Exit.WORKER_FAILED)
