"""A handler whose requests tests count."""

from __future__ import annotations

from typing import NamedTuple

from shardq import Handler, Route

#: Most requests of a batch.
BATCH = 16


class Item(NamedTuple):
    number: int


class Counted(Handler[Item]):
    """Does nothing, in eight threads."""

    @classmethod
    def route(cls, *items: Item) -> list[Route]:
        return [Route(item.number % 8) for item in items]

    @classmethod
    def batch_size(cls) -> int:
        return BATCH

    def perform(self, *items: Item) -> None:
        """All there is to do."""
