"""Remembering what operators did: each verb is one guarded section."""

from __future__ import annotations

from contextlib import AbstractContextManager

from shardq.shm.actions import Actions, Told


class Recording:
    """The actions of a segment."""

    def __init__(self, actions: Actions, section: AbstractContextManager[None]) -> None:
        self._actions = actions
        self._section = section

    def record(self, at_us: int, told: bytes) -> None:
        """Record an action. No gate is asked: it may be the action that moved the content elsewhere."""
        with self._section:
            self._actions.add(at_us, told)

    def actions(self, limit: int) -> list[Told]:
        """The last ones, the latest first."""
        with self._section:
            return self._actions.last(limit)
