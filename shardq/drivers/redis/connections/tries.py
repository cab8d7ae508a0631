"""How often, and for how long, a call is tried that got no answer."""

from __future__ import annotations

import logging
import random
import time
from typing import Any

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.replies import Moving, TooFewCopies
from shardq.errors import StorageUnavailable, StorageUnconfirmed

log = logging.getLogger("shardq.storage")

#: Seconds of a pause before the next try, at most: at first, and in the end.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
#: Keys that move are worth a line in the log after so many tries.
_LONG = 20
#: Seconds for which several answers are waited for where each is wanted only if it can be had.
LOOK_S = 1.0
#: Seconds for which a call is tried where its caller does not wait without end.
PATIENCE_S = 60.0


class Tries:
    """The tries of one call."""

    def __init__(self, address: Any, patience_s: float | None, longest_pause_s: float) -> None:
        self._address, self._longest_pause_s = address, longest_pause_s
        self._ends = None if patience_s is None else time.monotonic() + patience_s
        self._count = 0
        self._told = False

    def pause_s(self, reason: Exception) -> float:
        """Seconds until the next try. Raises `StorageUnavailable` where there is none."""
        if self._ends is not None and time.monotonic() >= self._ends:
            raise self._given_up(reason) from reason
        if not self._told and (not isinstance(reason, Moving) or self._count == _LONG):
            self._told = True
            log.warning("server not available", extra={"server": str(self._address), "reason": _said(reason)})
        self._count += 1
        return random.uniform(0, min(self._longest_pause_s, FIRST_PAUSE_S * 2 ** min(self._count, 10)))

    def _given_up(self, reason: Exception) -> StorageUnavailable:
        if isinstance(reason, Moving) and isinstance(self._address, Address):
            return StorageUnavailable(
                f"{self._address} is a server of a cluster: {reason}: begin the URL with redis+cluster:// or "
                "rediss+cluster://"
            )
        if not isinstance(reason, TooFewCopies):
            return StorageUnavailable(
                f"no answer from {self._address}: {_said(reason)}: see that the server runs, then try again"
            )
        return StorageUnconfirmed(
            f"it is done at {self._address}, but copies of it were not confirmed in time: {reason}. What was "
            f"registered is handled like everything else, and lost if that server is lost before it is copied. Do not "
            f"register it again: it would be handled twice"
        )


def _said(reason: Exception) -> str:
    return str(reason) or "the connection ended" if not isinstance(reason, TimeoutError) else "no answer in time"
