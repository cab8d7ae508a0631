"""Standard output as a place where a view is renewed: rewritten in place on a terminal, block after block elsewhere."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import sys
import time
from contextlib import suppress

from shardq.cli.output import paint, say
from shardq.supervisor.output.standard import knows_codes
from shardq.text.printable import fitted, printable

#: A terminal with fewer columns or lines gets blocks.
_FEWEST_COLUMNS, _FEWEST_LINES = 40, 5
#: So often a terminal is asked for its size, and a pipe whether its reader is there.
_GLANCE_S = 0.25
_HOME, _ERASE, _ERASE_REST, _ERASE_BELOW = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


class Screen:
    """Shows one text after the other."""

    def __init__(self) -> None:
        self._on_terminal = sys.stdout is not None and knows_codes(sys.stdout)
        self._size: tuple[int, int] | None = None
        """Columns and lines that the last text was made for. None: it was a block, or there was none."""
        self._blocks = 0

    def show(self, text: str) -> bool:
        """Show the text, whatever was shown before. False: the reader is gone."""
        columns, lines = _size()
        if not self._on_terminal or columns < _FEWEST_COLUMNS or lines < _FEWEST_LINES:
            return self._block(text)
        # Where the terminal had another size its lines are elsewhere now.
        begin = _HOME if self._size == (columns, lines) else f"{_HOME}{_ERASE}"
        self._size = columns, lines
        return paint(begin + in_place(printable(text, keep="\n"), lines, columns))

    def leave(self) -> None:
        """Leave what stands there as it is, and go on in a line of its own."""
        if self._size is not None:
            say("\n")

    async def wait(self, seconds: float) -> bool:
        """Wait so long, or until the terminal has another size. False: the reader is gone."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _GLANCE_S))
            if _is_left():
                return False
            if self._size is not None and self._size != _size():
                return True
        return True

    def _block(self, text: str) -> bool:
        """An empty line, and the text as it is."""
        self._size = None
        self._blocks += 1
        return say(text if self._blocks == 1 else f"\n{text}")


def in_place(text: str, lines: int, columns: int) -> str:
    """The text over what stands on a terminal of this size, with codes that erase the rest of each line and all lines
    below. What does not fit is left out, and counted in the last line.
    """
    rows = text.rstrip("\n").split("\n")
    if len(rows) > lines:
        rows[lines - 1 :] = [f"and {len(rows) - lines + 1:,} lines more"]
    # The last column stays free: in it a terminal may erase the last character with the rest.
    return f"{_ERASE_REST}\n".join(fitted(row, columns - 1) for row in rows) + _ERASE_REST + _ERASE_BELOW


def _size() -> tuple[int, int]:
    """Columns and lines of the terminal, which may change. Variables only say them where it does not."""
    with suppress(AttributeError, OSError, ValueError):
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        if columns and lines:
            return columns, lines
    columns, lines = shutil.get_terminal_size()
    return columns, lines


def _is_left() -> bool:
    """Whether the reader of standard output has gone."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or an object without one
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))
