"""What commands have in common that change many things: they say what was done before an error."""

from __future__ import annotations

from shardq.cli.output import CommandFailed
from shardq.errors import ShardqError


class Counted:
    """Has an error say how much was done before it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.count = 0

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.count and isinstance(error, ShardqError):
            raise CommandFailed(f"{error}; {self.count:,} were {self._what} before that") from error
