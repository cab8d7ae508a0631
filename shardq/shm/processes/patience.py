"""How long a verb waits for the guard before it raises `SegmentBusy`.

A process inside the guard leaves it within microseconds, unless it is stopped there. Then an event loop or a
supervisor, which must not wait without an end, gives up and comes back. The limit is looked up only where another
process or thread is inside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Patience:
    """The limits of one store. `usual` returns after how many seconds a call gives up that has no limit of its own;
    None: never.
    """

    def __init__(self) -> None:
        self.usual: Callable[[], float | None] = lambda: None
        self._here = threading.local()

    def limit_s(self) -> float | None:
        """How many seconds the calling thread waits at most, None: as long as it takes."""
        said: list[float | None] = getattr(self._here, "said", [])
        return said[-1] if said else self.usual()

    @contextmanager
    def at_most(self, seconds: float | None) -> Iterator[None]:
        """Within, the calling thread waits no longer than that."""
        said = self._here.__dict__.setdefault("said", [])
        said.append(seconds)
        try:
            yield
        finally:
            said.pop()
