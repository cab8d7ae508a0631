"""The line that a family shows which serves on: what is done and queued, and what each worker is at."""

from __future__ import annotations

import sys

from shardq.settings import SupervisorSettings
from shardq.supervised import Supervised
from shardq.supervisor.output import standard
from shardq.supervisor.output.progress import Progress


def is_wanted(settings: SupervisorSettings, *, embedded: bool) -> bool:
    """Whether a family shows how far it is, in a drain too. `embedded`: an application started the supervisor."""
    if settings.json_output or settings.progress is False:
        return False
    by_default = settings.drain or (not embedded and standard.is_terminal(sys.stderr))
    return settings.progress or by_default


class Live:
    """Looks now and then while there is work. Where there is none it does not look until a worker takes a batch."""

    def __init__(self, storage: Supervised, now_s: float) -> None:
        self._storage = storage
        self._progress = Progress(now_s, ends=False)
        self._interval_s = max(self._progress.interval_s, storage.look_s)
        self._before = storage.counts()
        self._looked_s, self._shown = now_s, (0, 0)
        self.look_at: float | None = now_s
        """Monotonic time of the next look. None: the bell rings before it."""

    def look(self, now_s: float) -> None:
        """Show how it is."""
        counts, before = self._storage.counts(), self._before
        state = counts.handled - before.handled, counts.accepted - before.handled
        idle = self._storage.idle()
        if not idle or state != self._shown:
            self._progress.show(now_s, *state, counts.buried - before.buried, self._storage.at_work())
        self._looked_s, self._shown = now_s, state
        self.look_at = None if idle else now_s + self._interval_s

    def on_bell(self, now_s: float) -> None:
        """The bell rang, maybe because a worker took a batch."""
        if self.look_at is None:
            self.look_at = max(now_s, self._looked_s + self._interval_s)

    def clear(self) -> None:
        """Remove the line."""
        self._progress.clear()
