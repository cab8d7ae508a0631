"""When a family serves: its first workers have come as far as the storage, so who looks at it sees them all."""

from __future__ import annotations

from collections.abc import Collection

from shardq.supervisor.board import Board
from shardq.supervisor.wishes.control import Control


class Arrivals:
    """Tells the application once. A worker that dies on its way is not waited for, nor what cannot be forked now."""

    def __init__(self, board: Board, control: Control | None) -> None:
        self._board = board
        self._control = control
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
