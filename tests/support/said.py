"""What a command answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from shardq.cli import OK


class Said(NamedTuple):
    status: int
    out: str
    errors: str

    @property
    def value(self) -> Any:
        """What it printed as JSON."""
        assert (self.status, self.errors) == (OK, "")
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        assert (self.status, self.errors) == (OK, "")
        return self.out.splitlines()


#: Runs the command, with these words.
Say = Callable[..., Said]
