"""What stands above the panes: a text to read, and a question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from shardq.text.printable import printable


class Reading(ModalScreen[None]):
    """A text, or several of a kind one after the other."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "back"),
        Binding("n,right", "go(1)", "next"),
        Binding("p,left", "go(-1)", "previous"),
    ]

    def __init__(self, names: Sequence[str], text_of: Callable[[str], Awaitable[str]]) -> None:
        """`names`: of the texts; `text_of`: says what stands there for one of them."""
        super().__init__()
        self._names = names
        self._text_of = text_of
        self._place = 0

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog large"):
            yield Static(id="title", markup=False)
            with VerticalScroll():
                yield Static(id="text", markup=False)

    async def on_mount(self) -> None:
        await self._show()

    async def action_go(self, step: int) -> None:
        """Show the next text, or the one before."""
        self._place = (self._place + step) % len(self._names)
        await self._show()

    async def _show(self) -> None:
        of = f"  ({self._place + 1:,} of {len(self._names):,})" if len(self._names) > 1 else ""
        name = self._names[self._place]
        self.query_one("#title", Static).update(printable(name) + of)
        text = await self._text_of(name)
        if name == self._names[self._place]:
            self.query_one("#text", Static).update(printable(text, keep="\n\t"))


class Question(ModalScreen[bool]):
    """Asks before something is done. Only `y` says yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape,q", "dismiss(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(printable(f"{self._question} [y/n]", keep="\n"), id="question", markup=False)
