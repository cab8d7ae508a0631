"""Handlers that keep their thread for long."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import NamedTuple

from shardq import Handler, Retry
from tests.support.jobs import Gated


class Hog(NamedTuple):
    seconds: float
    path: str


class Hogging(Handler[Hog]):
    """Lets nothing else run in its process: the call keeps the lock of the interpreter."""

    def perform(self, *hogs: Hog) -> None:
        for hog in hogs:
            with Path(hog.path).open("a") as file:
                file.write(f"{os.getpid()}\n")
            ctypes.PyDLL(None).usleep(round(hog.seconds * 1e6))


class Tireless(Gated):
    """Is tried again however often its worker dies."""

    retry = Retry(max_attempts=1_000_000, backoff_s=0.0)
