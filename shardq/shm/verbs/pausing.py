"""Keeping workers off handlers: each verb is one guarded section."""

from __future__ import annotations

from contextlib import AbstractContextManager

from shardq.model import Pause
from shardq.shm.gate import Gate
from shardq.shm.tubes.pauses import Pauses


class Pausing:
    """Verbs of an operator on handlers."""

    def __init__(self, pauses: Pauses, section: AbstractContextManager[None], gate: Gate) -> None:
        self._pauses = pauses
        self._section = section
        self._gate = gate

    def pause(self, pause: Pause) -> None:
        """Hand out nothing of a handler. Its name and the reason were checked. Raises `HandlerError` where too many
        handlers are paused, `StorageMoved` and `SegmentMissing`.
        """
        with self._section:
            self._gate.check_stays()
            self._gate.check_not_shut()
            self._pauses.pause(pause)

    def resume(self, handler: str) -> bool:
        """Hand out what a handler has again. False: it was not paused. Raises `StorageMoved`."""
        with self._section:
            self._gate.check_stays()
            self._pauses.end_over()
            return self._pauses.resume(handler)

    def standing(self) -> list[Pause]:
        """The pauses that stand, by handler."""
        with self._section:
            return self._pauses.standing()
