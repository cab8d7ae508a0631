"""What stands above the panes: a text to read, and a question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static, TextArea

from shardq.errors import ShardqError
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
        try:
            text = await self._text_of(name)
        except ShardqError as error:
            text = str(error)
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


class Why(ModalScreen[str | None]):
    """Asks for a reason before something is done. Enter says yes, also without one; None: no."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "no")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(printable(self._question, keep="\n"), id="question", markup=False)
            yield Input(placeholder="why, for others to read", max_length=128, id="why")
            yield Static("Enter: yes   Esc: no", markup=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()  # else the application would take it for its filter

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value)


class Editing(ModalScreen[str | None]):
    """A text that the user may change. None: it is to be left as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "put back as edited", priority=True),
        Binding("escape", "dismiss(None)", "leave it", priority=True),
    ]

    def __init__(self, title: str, text: str, error: str = "") -> None:
        """`error`: what was wrong with the text before."""
        super().__init__()
        self._title = title
        self._text = text
        self._error = error

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog large"):
            yield Static(printable(self._title), id="title", markup=False)
            yield TextArea(self._text, id="text")
            yield Static(printable(self._error), id="error", markup=False)
            yield Static("Ctrl+S: put it back as edited   Esc: leave it", markup=False)

    def on_mount(self) -> None:
        self.query_one(TextArea).focus()

    def action_save(self) -> None:
        """Go on with the text as it is."""
        self.dismiss(self.query_one(TextArea).text)
