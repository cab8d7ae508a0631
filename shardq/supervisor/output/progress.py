"""What is shown of the work: one line that is rewritten in place on a terminal, a plain line now and then elsewhere,
and one summary at the end of a drain.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from shardq.model import AtWork
from shardq.supervisor.output.standard import knows_codes
from shardq.supervisor.output.telling import ERASE_LINE, show, tell
from shardq.text.printable import fitted, printable
from shardq.text.wording import counted, duration, how_far

#: Seconds between two looks, on a terminal and elsewhere: at a drain, which ends soon after the last request, and at a
#: family that serves on. Elsewhere a line is printed after so many seconds at the earliest.
_TERMINAL_INTERVAL_S, _PLAIN_INTERVAL_S = 0.1, 0.5
_SERVING_INTERVAL_S, _LINE_INTERVAL_S = 0.25, 10.0
#: Columns of a terminal that does not say how many it has; with how few a line in place says too little; and the least
#: and most columns of a bar.
_COLUMNS, _FEWEST_COLUMNS, _SHORTEST_BAR, _LONGEST_BAR = 80, 40, 10, 40
#: The rate shown is that of so many seconds.
_RATE_WINDOW_S = 5.0


class Progress:
    """Shows how far the work has come. `handled` and `total` count from `started_s` on. `ends`: the work ends with its
    requests, as a drain does; otherwise more may come, so there is no bar.
    """

    def __init__(self, started_s: float, out: TextIO | None = None, *, ends: bool = True) -> None:
        self._out = out or sys.stderr
        self._ends = ends
        self._seen: deque[tuple[float, int]] = deque([(started_s, 0)])
        self._on_terminal = knows_codes(self._out)
        self._line_at = started_s + _LINE_INTERVAL_S
        self._stands = False
        """Whether there is a line to be removed."""
        plain_s, terminal_s = _LINE_INTERVAL_S, _SERVING_INTERVAL_S
        if ends:
            plain_s, terminal_s = _PLAIN_INTERVAL_S, _TERMINAL_INTERVAL_S
        self.interval_s = terminal_s if self._on_terminal else plain_s
        """Seconds until `show` wants to be called again."""

    def show(self, now_s: float, handled: int, total: int, failed: int = 0, at_work: Sequence[AtWork] = ()) -> None:
        """Show the state at a time of the monotonic clock. `failed` are those of the handled requests that failed for
        good.
        """
        facts = self._facts(handled, total, failed, self._rate(now_s, handled))
        columns = self._columns() if self._on_terminal else 0
        if columns < _FEWEST_COLUMNS:
            self.clear()
            if now_s >= self._line_at:
                self._line_at = now_s + _LINE_INTERVAL_S
                tell(facts, self._out)
            return
        # The last column stays free: a line that reaches it may wrap, and the wrapped part would never be removed.
        shown = self._line(handled / total if total else 1.0, facts, self._workers(at_work), columns - 1)
        show(f"\r{shown}\x1b[K", self._out)
        self._stands = True

    def clear(self) -> None:
        """Remove the line, so that others stand alone."""
        if self._stands:
            show(ERASE_LINE, self._out)
            self._stands = False

    def summary(self, elapsed_s: float, handled: int, left: int, failed: int = 0, deferred: int = 0) -> str:
        """One line about the whole drain."""
        elapsed_s = max(elapsed_s, 1e-9)
        ends = "is a dead letter" if failed == 1 else "are dead letters"
        remaining = f", {failed:,} failed and {ends}" if failed else ""
        remaining += f", {left:,} left" if left else ""
        remaining += f", {deferred:,} deferred" if deferred else ""
        done = counted(handled, "request")
        return f"{done} done in {duration(elapsed_s)} ({handled / elapsed_s:,.0f}/s){remaining}"

    def _facts(self, handled: int, total: int, failed: int, rate: float) -> str:
        left = duration((total - handled) / rate) if rate else "unknown"
        done = f"{handled:,}/{total:,} done" if self._ends else f"{handled:,} done, {total - handled:,} queued"
        return f"{done}, {rate:,.0f}/s, {left} left" + (f", {failed:,} failed" if failed else "")

    def _workers(self, at_work: Sequence[AtWork]) -> str:
        """What each worker is at that has a batch, in characters that the output has."""
        text = printable("".join(f" | {_worker(worker)}" for worker in at_work if worker.handler))
        with suppress(Exception):  # an object that a module put in the place of the stream
            return text.encode(self._out.encoding, "backslashreplace").decode(self._out.encoding)
        return text

    def _line(self, share: float, facts: str, workers: str, columns: int) -> str:
        """Share and facts, with a bar before them where there is room for one, and the workers behind them."""
        if not self._ends:
            return fitted(facts + workers, columns)
        figures = f"{share:4.0%} {facts}"
        room = columns - len(figures) - 3
        if room < _SHORTEST_BAR:
            return fitted(figures.lstrip() + workers, columns)
        width = max(_SHORTEST_BAR, min(_LONGEST_BAR, room - len(workers)))
        return fitted(f"[{('#' * round(share * width)).ljust(width, '-')}] {figures}{workers}", columns)

    def _columns(self) -> int:
        """How many columns the terminal with the line has. Standard output may be something else."""
        with suppress(ValueError):
            if (columns := int(os.environ.get("COLUMNS", 0))) > 0:
                return columns
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._out.fileno()).columns or _COLUMNS
        return _COLUMNS

    def _rate(self, now_s: float, handled: int) -> float:
        self._seen.append((now_s, handled))
        while len(self._seen) > 2 and now_s - self._seen[0][0] > _RATE_WINDOW_S:
            self._seen.popleft()
        since_s, before = self._seen[0]
        return (handled - before) / (now_s - since_s) if now_s > since_s else 0.0


def _worker(worker: AtWork) -> str:
    """`1 Resize/album 30/120 25% b.png`."""
    name = (worker.handler or "").rpartition("/")[2]
    said = "" if worker.done is None else f" {how_far(worker.done, worker.total, worker.note)}"
    return f"{worker.number} {name}/{worker.thread}{said}"
