"""What a scenario is made of."""

from __future__ import annotations

from enum import StrEnum
from pkgutil import resolve_name
from typing import Any, NamedTuple


class Kind(StrEnum):
    SHARDQ = "shardq"
    RIVAL = "rival"
    """What people would take instead."""
    FLOOR = "floor"
    """What the work costs without a queue, or a queue with less to do: no program can be faster by much."""


class Figure(NamedTuple):
    name: str
    """As contestants return it, and as results files have it."""
    meaning: str
    unit: str
    less_is_better: bool = False
    whole: bool = False
    """Whether it counts things, which are shown without decimals."""


class Contestant(NamedTuple):
    name: str
    function: str
    """`module:function`, called in a process of its own with a `Size` and `arguments`; returns figures by name."""
    arguments: dict[str, Any] = {}  # noqa: RUF012 - never changed
    kind: Kind = Kind.SHARDQ
    against: str | None = None
    """The contestant of shardq that this one is compared with. None: the first of the scenario."""
    needs: str | None = None
    """A module, or `module:name`, without which it cannot take part."""

    @property
    def missing(self) -> bool:
        """Whether what it needs is not there."""
        if self.needs is None:
            return False
        try:
            resolve_name(self.needs)
        except (ImportError, AttributeError):
            return True
        return False


class Scenario(NamedTuple):
    name: str
    title: str
    figures: tuple[Figure, ...]
    """What each contestant returns. The first one is charted."""
    contestants: tuple[Contestant, ...]
    """The first one is of shardq."""
    caveats: str
    """What to know before comparing, as text in Markdown."""

    def named(self, contestant: str) -> Contestant:
        return next(each for each in self.contestants if each.name == contestant)
