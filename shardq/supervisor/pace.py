"""How soon a worker that died is replaced."""

from __future__ import annotations

#: A worker that lived so long is healthy: deaths before it do not slow down its replacement.
_HEALTHY_S = 60.0
_LONGEST_DELAY_S = 30.0


class Pace:
    """At once after the first death within a minute; after `first_delay_s`, doubled for each further one, later on."""

    def __init__(self, first_delay_s: float) -> None:
        self._first_delay_s = first_delay_s
        self._deaths: list[float] = []

    def delay_s(self, now: float) -> float:
        """Note a death at this monotonic time. How many seconds its replacement has to wait."""
        self._deaths = [when for when in self._deaths if now - when < _HEALTHY_S]
        earlier = len(self._deaths)
        self._deaths.append(now)
        return min(self._first_delay_s * 2 ** (earlier - 1), _LONGEST_DELAY_S) if earlier else 0.0
