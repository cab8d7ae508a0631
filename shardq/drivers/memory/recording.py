"""Actions of operators, as verbs of the storage in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from shardq.encoding.actions import decode_action, encode_action
from shardq.model import MOST_ACTIONS, Action


class Recording:
    """`Auditable` in memory."""

    def __init__(self, lock: threading.Lock, now_us: Callable[[], int]) -> None:
        self._lock = lock
        self._now_us = now_us
        self._last = deque[Action](maxlen=MOST_ACTIONS)

    def record(self, action: Action) -> None:
        """See `Auditable.record`."""
        told = encode_action(action)  # the texts are cut, as they are elsewhere
        with self._lock:
            number = self._last[-1].number + 1 if self._last else 1
            self._last.append(decode_action(number, self._now_us(), told))

    def actions(self, limit: int) -> list[Action]:
        """See `Auditable.actions`."""
        with self._lock:
            return [*self._last][::-1][: max(0, limit)]
