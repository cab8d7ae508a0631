"""The numbers by which the server knows a call that is made again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Calls:
    """The calls over one connection and those that take its place."""

    def __init__(self) -> None:
        self._producer = secrets.token_hex(8)
        self._last = 0
        self._open: dict[int, None] = {}

    @contextmanager
    def one(self) -> Iterator[dict[str, Any]]:
        """What a call says of itself. Within the block its answer is due."""
        self._last += 1
        number = self._last
        self._open[number] = None
        try:
            yield {"producer": self._producer, "call": number, "oldest": next(iter(self._open))}
        finally:
            del self._open[number]
