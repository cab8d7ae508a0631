"""A program that has the terminal for a while, and the signals that its keys send with it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def keys_left_to_child() -> Iterator[None]:
    """Ctrl-C and Ctrl-\\ are for the program that runs meanwhile, as an editor in which they are keys among others: the
    terminal sends them to this process, too. They are not ignored, since the program would ignore them as well.
    """
    former = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGQUIT)}
    heard = {each: handler for each, handler in former.items() if handler not in (signal.SIG_IGN, None)}
    for each in heard:
        signal.signal(each, _pass)
    try:
        yield
    finally:
        for each, handler in heard.items():
            signal.signal(each, handler)


def _pass(number: int, frame: FrameType | None) -> None:
    """Nothing: the program has it."""
