"""The pipes of a handler class, remembered by the places that requests go to.

To find a pipe takes a fraction of the time in which a place is checked, and a new text is written and hashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shardq.errors import HandlerError, shown
from shardq.handling.plain import one_step
from shardq.model import Route

#: So many pipes are remembered, and so many keys with their threads, for each handler class.
REMEMBERED = 16_384
#: Numbers of threads are below this; a longer number would make no name.
_THREADS = 1 << 1024


class Pipes(dict[Any, str]):
    """The pipe of each place. Several threads may ask for pipes at once."""

    def __init__(self, name: str, kind: type) -> None:
        """`name` is that of the handler, `kind` the class of all places: a number of a thread, or a tuple of that and
        of a priority.
        """
        super().__init__()
        self.name = name
        self.kind = kind
        self.one_step = one_step()
        """Finds out the step that stores a plain call: see `plain`."""

    def of(self, place: Any) -> str:
        """The pipe of a place."""
        return self[place]

    def written(self, place: Any) -> str:
        """The pipe of a place, written anew."""
        thread, priority = (place, 0) if self.kind is int else place
        return f"{self.name}/{thread}/{priority}"

    def __missing__(self, place: Any) -> str:
        pipe = self.written(place)
        if len(self) >= REMEMBERED:
            self.clear()
        self[place] = pipe
        return pipe


class PipesOfRoutes(Pipes):
    """Those of a handler with a `route()`, which may return anything: so its routes are checked."""

    def __init__(self, name: str, priorities: Sequence[int]) -> None:
        super().__init__(name, Route)
        self.priorities = priorities

    def of(self, place: Route) -> str:
        """The pipe of a route. Raises `HandlerError` for a route that cannot be."""
        # True equals 1, but is no number of a thread.
        return self[place] if {int}.issuperset(map(type, place)) else self.written(place)

    def written(self, place: Route) -> str:
        thread, priority = place
        if type(thread) is not int or not 0 <= thread < _THREADS:
            raise HandlerError(
                f"{self.name}.route() returned thread {shown(thread)}: it must be an integer from 0 up, of at most "
                f"300 digits{_advice(thread)}"
            )
        if type(priority) is not int or priority not in self.priorities:
            raise HandlerError(
                f"{self.name}.route() returned priority {shown(priority)}, which is not among its priorities "
                f"{shown(sorted(self.priorities))}"
            )
        return super().written(place)


def _advice(thread: Any) -> str:
    if isinstance(thread, str | bytes | bytearray | int):
        return "; Route.by(key) makes one of any text, bytes or integer"
    return "; Route.by(str(key)) makes one of a text"
