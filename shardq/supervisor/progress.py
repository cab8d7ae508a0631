"""What a drain shows: a bar on a terminal, a plain line now and then elsewhere, one summary at the end."""

from __future__ import annotations

import shutil
import sys
from collections import deque
from typing import TextIO

from shardq.wording import counted

#: Seconds between two looks, on a terminal and elsewhere, where only now and then a line is printed.
_TERMINAL_INTERVAL_S, _PLAIN_INTERVAL_S, _LINE_INTERVAL_S = 0.1, 0.5, 5.0
#: The rate shown is that of so many seconds.
_RATE_WINDOW_S = 5.0


class Progress:
    """Shows how far a drain has come. `handled` and `total` count from the start of this drain."""

    def __init__(self, started_s: float, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._seen: deque[tuple[float, int]] = deque([(started_s, 0)])
        self._on_terminal = self._out.isatty()
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
                print(facts, file=self._out, flush=True)
            return
        width = max(10, min(40, shutil.get_terminal_size().columns - len(facts) - 9))
        share = handled / total if total else 1.0
        bar = ("#" * round(share * width)).ljust(width, "-")
        print(f"\r[{bar}] {share:4.0%} {facts}\x1b[K", end="", file=self._out, flush=True)

    def clear(self) -> None:
        """Take the bar away, so that other lines stand alone."""
        if self._on_terminal:
            print("\r\x1b[K", end="", file=self._out, flush=True)

    def summary(self, elapsed_s: float, handled: int, left: int, failed: int = 0, deferred: int = 0) -> str:
        """One line about the whole drain."""
        elapsed_s = max(elapsed_s, 1e-9)
        remaining = (
            f", {failed:,} failed and {'is a dead letter' if failed == 1 else 'are dead letters'}" if failed else ""
        )
        remaining += f", {left:,} left" if left else ""
        remaining += f", {deferred:,} deferred" if deferred else ""
        return f"{counted(handled, 'request')} done in {duration(elapsed_s)} ({handled / elapsed_s:,.0f}/s){remaining}"

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
