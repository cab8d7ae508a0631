"""A table that is renewed: the row that was chosen stays chosen, wherever it is then."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import DataTable

from shardq.cli.top.rows import Row, Table, chosen
from shardq.text.printable import fitted, printable

#: Least and most columns of the first cell of a row, which is a name and stays in sight.
_NARROWEST, _WIDEST = 24, 60


class Pane(DataTable[Text]):
    """Shows rows of one kind."""

    def __init__(self, table: Table, name: str) -> None:
        super().__init__(id=name, cursor_type="row", zebra_stripes=True)
        self._table = table
        self._all: Sequence[Row] = ()
        self._rows: Sequence[Row] = ()
        self._sorted_by = table.sorted_by
        self._descending = bool(table.sorted_by)
        self._wanted = ""

    def on_mount(self) -> None:
        self.add_columns(*self._table.columns)

    @property
    def selected_key(self) -> str | None:
        """Key of the row that is chosen. None: there are no rows."""
        return self._rows[self.cursor_row].key if 0 <= self.cursor_row < len(self._rows) else None

    @property
    def order(self) -> str:
        """By what it is sorted, in words."""
        return f"by {self._table.columns[self._sorted_by]}{', largest first' if self._descending else ''}"

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows in the place of those that were there."""
        self._all = rows
        self._renew()

    def filter_by(self, wanted: str) -> None:
        """Show only rows with this text. Empty: all."""
        self._wanted = wanted
        self._renew()

    def sort_by_next(self) -> None:
        """Sort by the next column."""
        self._sorted_by = (self._sorted_by + 1) % len(self._table.columns)
        self._renew()

    def turn_round(self) -> None:
        """Sort the other way round."""
        self._descending = not self._descending
        self._renew()

    def _renew(self) -> None:
        before, place, height = self.selected_key, self.cursor_row, self.scroll_y
        former = [row.key for row in self._rows]
        self._rows = chosen(self._all, self._sorted_by, descending=self._descending, wanted=self._wanted)
        keys = [row.key for row in self._rows]
        if keys == former:
            self._update()
            return
        self.clear()
        for row in self._rows:
            self.add_row(*self._cells(row))
        place = keys.index(before) if before in keys else min(place, len(keys) - 1)
        self.move_cursor(row=max(place, 0), scroll=False)
        self.scroll_to(y=height, animate=False)

    def _update(self) -> None:
        """The same rows with other figures."""
        for place, row in enumerate(self._rows):
            for column, cell in enumerate(self._cells(row)):
                if self.get_cell_at((place, column)) != cell:  # type: ignore[arg-type]
                    self.update_cell_at((place, column), cell, update_width=True)  # type: ignore[arg-type]

    def _cells(self, row: Row) -> list[Text]:
        """Its cells as texts that no markup and no terminal acts upon."""
        most = min(max(_NARROWEST, self.app.size.width // 3), _WIDEST)
        first, *others = map(printable, row.cells)
        return [Text(_shortened(first, most)), *map(Text, others)]


def _shortened(name: str, most: int) -> str:
    """The end of a name that is too long: it says more than the begin."""
    if fitted(name, most) == name:
        return name
    return "…" + fitted(name[::-1], most - 1)[::-1]
