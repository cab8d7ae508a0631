"""A reload under way: a probe tries the new code, and a step that the system refuses is tried again."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Sequence

from shardq.supervisor.code.program import Program
from shardq.supervisor.watch import Watch
from shardq.supervisor.wishes.reload import start_probe
from shardq.supervisor.workers.member import Member

#: How soon to begin a reload again that the system refused.
_AGAIN_S = 1.0


class Reloading:
    """`say(level, event, **fields)` logs what happens."""

    def __init__(self, program: Program, say: Callable[..., None]) -> None:
        self._program = program
        self._say = say
        self._probe: Member | None = None
        self.again_at: float | None = None
        """Monotonic time at which to begin again; None: nothing was refused."""

    @property
    def probing(self) -> bool:
        """Whether a probe is under way."""
        return self._probe is not None

    @property
    def pids(self) -> list[int]:
        """The probe's pid, while one is under way."""
        return [self._probe.pid] if self._probe else []

    @property
    def descriptors(self) -> list[int]:
        """The probe's pidfd, which no child may keep."""
        return [self._probe.descriptor] if self._probe and self._probe.descriptor >= 0 else []

    def begin(self, watch: Watch, close: Sequence[int], ready: Callable[[], None]) -> None:
        """Start a probe, which closes these descriptors. Once it has imported the new code, `ready` is called."""
        try:
            pid = start_probe(self._program, close)
        except OSError as error:
            self.put_off(error)
            return
        self._say(logging.INFO, "trying the new code", pid=pid)
        self._probe = Member.of_child(pid, 0)
        watch.add_member(self._probe, lambda: self._on_probe(watch, ready))

    def end(self, watch: Watch) -> None:
        """Give the reload up. A probe under way is killed: it may have read the code before the last change."""
        self.again_at = None
        if self._probe:
            self._probe.signal(signal.SIGKILL)
            self._probe.wait()
            watch.discard_member(self._probe)
            self._probe = None

    def put_off(self, error: OSError) -> None:
        """Begin again a little later, because the system refused a step with this error."""
        self._say(logging.ERROR, "cannot reload now", error=str(error), next_try_s=_AGAIN_S)
        self.again_at = time.monotonic() + _AGAIN_S

    def _on_probe(self, watch: Watch, ready: Callable[[], None]) -> None:
        probe = self._probe
        death = probe.reap() if probe else None
        if probe is None or death is None:
            return
        self._probe = None
        watch.discard_member(probe)
        if not death.clean:
            self._say(logging.ERROR, "reload refused: the new code does not import", how=death.how)
            return
        ready()
