"""The application of `shardq top`: panes, keys, and the looks that renew them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Input, Static, TabbedContent, TabPane

from shardq.cli.pausing import pause_lines
from shardq.cli.top.aside import Aside
from shardq.cli.top.asking import Asking
from shardq.cli.top.dialogs import Reading
from shardq.cli.top.doing import Doing
from shardq.cli.top.pane import Pane
from shardq.cli.top.rows import TABLES, member_key
from shardq.cli.top.source import Seen, Source
from shardq.cli.top.texts import heading, help_text, looked_at, member_text
from shardq.errors import ShardqError
from shardq.model import key_of, split_key
from shardq.text.printable import printable

_DARK, _LIGHT = "textual-dark", "textual-light"
#: Actions that change something, and the panes in which they do.
_CHANGES = {"pause": ("handlers", "threads"), **dict.fromkeys(("requeue", "drop", "edit"), ("dead",))}


class Top(App[None]):
    """Shows a storage until `q`. `failure` is what ended it instead."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #heading { height: 2; padding: 0 1; background: $primary-background; }
    #state { height: 1; padding: 0 1; color: $text-muted; }
    #filter { display: none; height: 3; }
    TabbedContent, ContentSwitcher, TabPane, Pane { height: 1fr; }
    TabPane { padding: 0; }
    Reading, Question, Why, Editing { align: center middle; }
    TextArea { height: 1fr; }
    .dialog { width: 64; height: auto; padding: 1 2; border: round $primary; background: $surface; }
    .large { width: 95%; height: 95%; }
    #title { text-style: bold; padding-bottom: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(place), f"pane('{name}')", show=False) for place, name in enumerate(TABLES, 1)),
        Binding("tab", "next_pane", "pane", show=False, priority=True),
        Binding("enter", "details", "details"),
        Binding("s", "sort", "sort"),
        Binding("S", "turn", "reverse", show=False),
        Binding("slash", "filter", "filter"),
        Binding("escape", "unfilter", show=False),
        Binding("space", "freeze", "freeze"),
        *(Binding(key, name, name) for key, name in (("p", "pause"), ("r", "requeue"), ("d", "drop"), ("e", "edit"))),
        Binding("t", "theme", "theme", show=False),
        Binding("question_mark,h", "help", "help"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, source: Source, *, read_only: bool, interval_s: float = 1.0) -> None:
        super().__init__()
        self.animation_level = "none"
        self.failure: ShardqError | None = None
        self._source = source
        self._read_only = read_only
        self._interval_s = interval_s
        self._aside = Aside()
        self._asking = Asking(self, self._aside, Doing(source.url, source.view), source.forget)
        self._seen: Seen | None = None
        self._shown: Seen | None = None
        self._frozen = False
        self._wanted = ""

    def compose(self) -> ComposeResult:
        self._heading, self._state = Static(id="heading", markup=False), Static(id="state", markup=False)
        self._filter = Input(placeholder="only rows with this text", id="filter")
        self._tables = {name: Pane(table, name) for name, table in TABLES.items()}
        yield self._heading
        with TabbedContent() as self._tabs:
            for name, pane in self._tables.items():
                with TabPane(TABLES[name].title, id=f"pane-{name}"):
                    yield pane
        yield self._filter
        yield self._state
        yield Footer()

    def on_mount(self) -> None:
        self.theme = _DARK
        self._pane.focus()
        self.run_worker(self._look_on())

    async def on_unmount(self) -> None:
        await self._aside.do(self._source.close)
        self._aside.close()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key does something now."""
        return action not in _CHANGES or (not self._read_only and self._pane_name in _CHANGES[action])

    @property
    def _pane_name(self) -> str:
        """Name of the pane in sight."""
        return self._tabs.active.removeprefix("pane-") or next(iter(TABLES))

    @property
    def _pane(self) -> Pane:
        return self._tables[self._pane_name]

    async def _look_on(self) -> None:
        """Look once a second, and show it unless that is frozen."""
        while True:
            try:
                self._seen = await self._aside.do(partial(self._source.look, letters=self._pane_name == "dead"))
            except ShardqError as error:
                self.failure = error
                self.exit()
                return
            if not self._tabs.is_attached:
                return  # it is about to end
            if not self._frozen:
                self._show()
            await asyncio.sleep(self._interval_s)

    def _show(self) -> None:
        """Show what was seen last."""
        self._shown = self._seen
        if self._shown is not None:
            sample, groups = self._shown
            for name, table in TABLES.items():
                self._tables[name].show(table.rows(sample, groups))
        self._tell()

    def _tell(self) -> None:
        """Renew the lines above and below the panes."""
        shown = self._shown
        text = heading(self._source.url, shown.sample if shown else None)
        self._heading.update(printable(text, keep="\n"))
        facts = [self._pane.order, looked_at(self._pane_name, *shown) if shown else ""]
        facts += [f"only {self._wanted}" if self._wanted else "", "frozen" if self._frozen else ""]
        facts += ["read-only" if self._read_only else ""]
        self._state.update(printable("  |  ".join(filter(None, facts))))

    # Keys

    def action_pane(self, name: str) -> None:
        """Show a pane."""
        self._tabs.active = f"pane-{name}"

    def action_next_pane(self) -> None:
        """Show the pane behind this one."""
        names = [*TABLES]
        self.action_pane(names[(names.index(self._pane_name) + 1) % len(names)])

    def on_tabbed_content_tab_activated(self) -> None:
        self._pane.focus()
        self.refresh_bindings()
        self._tell()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._pane.sort_by_next()
        self._tell()

    def action_turn(self) -> None:
        """Sort the other way round."""
        self._pane.turn_round()
        self._tell()

    def action_freeze(self) -> None:
        """Show nothing new, or go on."""
        self._frozen = not self._frozen
        if not self._frozen:
            self._show()
        self._tell()

    def action_theme(self) -> None:
        """Dark or light."""
        self.theme = _LIGHT if self.theme == _DARK else _DARK

    def action_filter(self) -> None:
        """Ask for the text of a filter."""
        self._filter.display = True
        self._filter.focus()

    def action_unfilter(self) -> None:
        """Show all rows."""
        self._filter.value = ""
        self._filter.display = False
        self._pane.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._wanted = event.value
        for pane in self._tables.values():
            pane.filter_by(event.value)
        self._tell()

    def on_input_submitted(self) -> None:
        self._filter.display = False
        self._pane.focus()

    def action_help(self) -> None:
        """Say what the keys do."""
        text = help_text(read_only=self._read_only)
        self.push_screen(Reading(["Keys"], partial(_ready, text)))

    def on_data_table_row_selected(self) -> None:
        self.action_details()

    def action_details(self) -> None:
        """Show more of a pause or of a worker, or the letters of a group."""
        key, shown = self._pane.selected_key, self._shown
        if key is None or shown is None:
            return
        if self._pane_name == "handlers" and shown.sample.overview is not None:
            for its in shown.sample.overview.paused:
                if its.handler == key:
                    self.push_screen(Reading([key], partial(_ready, "\n".join(pause_lines([its])))))
        if self._pane_name == "workers" and shown.sample.overview is not None:
            found = [member for member in shown.sample.overview.crew if member_key(member) == key]
            for member in found:
                self.push_screen(Reading([f"Worker {member.at.pid}"], partial(_ready, member_text(member))))
        if self._pane_name == "dead":
            latest_first = self._ids()[::-1]
            self.push_screen(Reading(latest_first, lambda its: self._aside.do(partial(self._source.letter, its))))

    def action_requeue(self) -> None:
        """Put the letters of a group back in their order, once their number was confirmed."""
        self._asking.requeue(self._ids())

    def action_drop(self) -> None:
        """Drop them, in the same way."""
        self._asking.drop(self._ids())

    def action_edit(self) -> None:
        """Edit the latest letter of a group, and put it back."""
        self._asking.edit(self._ids()[::-1])

    def action_pause(self) -> None:
        """Pause the chosen handler, or that of the chosen tube, or resume it."""
        key, sample = self._pane.selected_key, self._shown.sample if self._shown else None
        if key is None or sample is None or sample.overview is None:
            return
        handler = split_key(key_of(key))[0] if self._pane_name == "threads" else key
        queued = sum(its.queued.requests for its in sample.handlers if its.handler == handler)
        is_paused = handler in [its.handler for its in sample.overview.paused]
        (self._asking.resume if is_paused else self._asking.pause)(handler, queued)

    def _ids(self) -> tuple[str, ...]:
        """Letters of the group that is chosen, the oldest first."""
        groups = self._shown.groups if self._shown else ()
        return next((group.ids for group in groups if group.key == self._pane.selected_key), ())


async def _ready(text: str, name: str) -> str:
    return text
