"""A drain, as the supervisor sees it: how far it has come, whether it makes progress, and how it ended."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import NamedTuple

from shardq.model import Counts
from shardq.supervised import Supervised
from shardq.supervisor.exits import Exit
from shardq.supervisor.output.progress import Progress
from shardq.supervisor.output.telling import tell

log = logging.getLogger("shardq.supervisor")


class DrainBegun(NamedTuple):
    """The beginning of a drain."""

    started_s: float
    """Monotonic time."""
    before: Counts


class Drain:
    """Shows progress, unless told not to, and notices when this family does not serve what is left."""

    def __init__(
        self, storage: Supervised, *, as_json: bool, shows: bool = True, begun: DrainBegun | None = None
    ) -> None:
        self._storage = storage
        self._as_json = as_json
        self._shows = shows
        self.begun = begun or DrainBegun(time.monotonic(), storage.counts())
        self._started_s, self._before = self.begun
        self.look_at = time.monotonic()
        """Monotonic time of the next look."""
        self._progress = Progress(self._started_s)
        self._last_handled = -1

    def look(self, now: float) -> Exit | None:
        """Show how far the drain is. Returns how it has to end; None: it may go on."""
        self.look_at = now + self._progress.interval_s
        counts = self._storage.counts()
        if self._shows:
            handled, failed = counts.handled - self._before.handled, counts.buried - self._before.buried
            total = counts.accepted - self._before.handled
            self._progress.show(now, handled, total, failed, self._storage.at_work())
        stalled, self._last_handled = counts.handled == self._last_handled, counts.handled
        if not stalled:
            return None
        if self._storage.quiet():
            return Exit.OK  # the safety net: the worker that was to ring the bell may have been killed
        unserved = self._storage.only_unserved()
        if not unserved:
            return None
        log.error(
            "this supervisor has no handler for what is left, or it is paused",
            extra={"tubes": ", ".join(unserved[:10])},
        )
        return Exit.UNSERVED

    def ended(self, how: Exit) -> Exit:
        """Print the summary. Returns how the drain ended: `Exit.DEAD_LETTERS` and not `Exit.OK` where requests became
        dead letters.
        """
        counts, elapsed_s = self._storage.counts(), time.monotonic() - self._started_s
        failed = counts.buried - self._before.buried
        done, left = counts.handled - self._before.handled - failed, counts.queued
        self._progress.clear()
        if self._as_json:
            figures = {"done": done, "left": left, "failed": failed, "deferred": counts.deferred}
            tell(json.dumps(figures | {"elapsed_s": elapsed_s}), sys.stdout)
        else:
            tell(self._progress.summary(elapsed_s, done, left, failed, counts.deferred), sys.stdout)
        return Exit.DEAD_LETTERS if failed and how is Exit.OK else how
