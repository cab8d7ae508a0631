"""What a drain shows: a bar on a terminal, a plain line now and then elsewhere, one summary at the end."""

from __future__ import annotations

import os
import sys
from collections import deque
from contextlib import suppress
from typing import TextIO

from shardq.supervisor.output.standard import is_terminal
from shardq.supervisor.output.telling import show, tell
from shardq.text.wording import counted

#: Seconds between two looks, on a terminal and elsewhere, where only now and then a line is printed.
_TERMINAL_INTERVAL_S, _PLAIN_INTERVAL_S, _LINE_INTERVAL_S = 0.1, 0.5, 5.0
#: Columns of a terminal that does not say how many it has; and the least and most columns of a bar.
_COLUMNS, _SHORTEST_BAR, _LONGEST_BAR = 80, 10, 40
#: The rate shown is that of so many seconds.
_RATE_WINDOW_S = 5.0


class Progress:
    """Shows how far a drain has come. `handled` and `total` count from the start of this drain."""

    def __init__(self, started_s: float, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._seen: deque[tuple[float, int]] = deque([(started_s, 0)])
        # On a terminal that knows no escape codes a bar could not be removed again.
        self._on_terminal = is_terminal(self._out) and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
        self._line_at = started_s + _LINE_INTERVAL_S
        self.interval_s = _TERMINAL_INTERVAL_S if self._on_terminal else _PLAIN_INTERVAL_S
        """Seconds until `show` wants to be called again."""

    def show(self, now_s: float, handled: int, total: int) -> None:
        """Show the state at a time of the monotonic clock."""
        rate = self._rate(now_s, handled)
        left = duration((total - handled) / rate) if rate else "unknown"
        facts = f"{handled:,}/{total:,} done, {rate:,.0f}/s, {left} left"
        if not self._on_terminal:
            if now_s >= self._line_at:
                self._line_at = now_s + _LINE_INTERVAL_S
                tell(facts, self._out)
            return
        # The last column stays free: a line that reaches it may wrap, and the wrapped part would never be removed.
        shown = self._line(handled / total if total else 1.0, facts, self._columns() - 1)
        show(f"\r{shown}\x1b[K", self._out)

    def clear(self) -> None:
        """Remove the bar, so that other lines stand alone."""
        if self._on_terminal:
            show("\r\x1b[K", self._out)

    def summary(self, elapsed_s: float, handled: int, left: int, failed: int = 0, deferred: int = 0) -> str:
        """One line about the whole drain."""
        elapsed_s = max(elapsed_s, 1e-9)
        ends = "is a dead letter" if failed == 1 else "are dead letters"
        remaining = f", {failed:,} failed and {ends}" if failed else ""
        remaining += f", {left:,} left" if left else ""
        remaining += f", {deferred:,} deferred" if deferred else ""
        done = counted(handled, "request")
        return f"{done} done in {duration(elapsed_s)} ({handled / elapsed_s:,.0f}/s){remaining}"

    def _line(self, share: float, facts: str, columns: int) -> str:
        """Share and facts, with a bar before them where there is room for one."""
        figures = f"{share:4.0%} {facts}"
        width = min(_LONGEST_BAR, columns - len(figures) - 3)
        if width < _SHORTEST_BAR:
            return figures.lstrip()[: max(columns, 0)]
        return f"[{('#' * round(share * width)).ljust(width, '-')}] {figures}"

    def _columns(self) -> int:
        """How many columns the terminal with the bar has. Standard output may be something else."""
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


def duration(seconds: float) -> str:
    """`1:02:03`, `2:03`, or `3.2 s` for less than a minute."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
