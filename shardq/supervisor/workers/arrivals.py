"""When a family serves: its first workers have come as far as the storage, so who looks at it sees them all. And when
it never will, because they do not.
"""

from __future__ import annotations

from collections.abc import Collection

from shardq.supervisor.board import Board, LastSeen
from shardq.supervisor.exits import Exit
from shardq.supervisor.wishes.control import Control
from shardq.supervisor.workers.deaths import Death


class Arrivals:
    """Tells the application once. A worker that dies on its way is not waited for, nor what cannot be forked now.
    `served`: whether the family did so before, under its former code.
    """

    def __init__(self, board: Board, control: Control | None, *, served: bool = False) -> None:
        self._board = board
        self._control = control
        self._served = served
        self._awaited: set[int] | None = None
        """Pids of those that are still on their way; None: they are not forked yet."""

    def look(self, members: Collection[int]) -> None:
        """After workers were forked, and whenever one may have come or gone; `members` are the pids of all."""
        if self._control is None:
            return
        self._awaited = set(members) if self._awaited is None else self._awaited.intersection(members)
        self._awaited.difference_update(self._board.arrived())
        if not self._awaited:
            self._control.tell(serving=True)
            self._control = None

    def verdict(self, death: Death, seen: LastSeen, members: Collection[int]) -> Exit | None:
        """How the family has to end because a worker died; None: it goes on. What the system refuses it may give a
        little later, but of a family that has never served nobody knows that it ever will.
        """
        self._served = self._served or seen.attached or not set(members).isdisjoint(self._board.arrived())
        if seen.attached:
            return None  # its exit code is that of any handler
        if death.at_boot:
            return Exit.BOOT
        return Exit.SEGMENT if death.refused and not self._served else None
