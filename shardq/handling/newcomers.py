"""Tells sleeping workers of handlers that are new in their process: a storage wakes them only for those they know."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[], None]] = []
_announced = 0


@contextmanager
def listening(tell: Callable[[], None]) -> Iterator[None]:
    """Within, `tell` is called in any thread for each handler class that is made or first registered."""
    _listeners.append(tell)
    try:
        yield
    finally:
        _listeners.remove(tell)


def announce() -> None:
    """Tell the listeners that there is a handler that they may not know."""
    global _announced
    _announced += 1
    for tell in tuple(_listeners):
        tell()


def announced() -> int:
    """Another number after each `announce`: for code that looks for itself."""
    return _announced


os.register_at_fork(after_in_child=_listeners.clear)
