"""Handlers whose results tests wait for, in families."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NamedTuple

from shardq import Handler, Retry, Route


class Ask(NamedTuple):
    number: int
    folder: str = ""
    """Where it is noted that a worker dies with it. Empty: none does."""
    times: int = 0
    """How often that is to happen."""


class Twice(Handler[Ask, int]):
    """Twice the number, in eight threads."""

    retry = Retry(max_attempts=3, backoff_s=0.0)

    @classmethod
    def route(cls, *asks: Ask) -> list[Route]:
        return [Route(ask.number % 8) for ask in asks]

    def perform(self, *asks: Ask) -> list[int]:
        for ask in asks:
            if ask.folder and len(os.listdir(ask.folder)) < ask.times:
                Path(ask.folder, str(os.getpid())).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return [2 * ask.number for ask in asks]
