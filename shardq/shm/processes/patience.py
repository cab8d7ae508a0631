"""How long a verb waits for the guard before it raises `SegmentBusy`.

Somebody inside the guard leaves it within microseconds, unless his process is stopped there. Then who must not wait
without an end, an event loop or a supervisor, gives up and comes back. It is asked only once others are inside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Patience:
    """Of one store. `usual` says in which of its seconds a call gives up that nobody said more of; None: never."""

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
