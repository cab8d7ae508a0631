"""How soon a worker that died is replaced.

A worker that died with a batch in hand is replaced at once: that batch rests by itself, and becomes a dead letter if it
goes on to kill workers. The death of any other worker leaves a *vacancy*, which rests for a while before it is filled.
Each vacancy rests by itself and delays no other replacement.
"""

from __future__ import annotations

#: A worker that lived so long is healthy: deaths before it do not slow down its replacement.
_HEALTHY_S = 60.0
#: Longest rest where workers die before they have attached: the next one would probably die in the same way.
_LONGEST_DELAY_S = 30.0
#: Longest rest where they die later, in `create` or `start` for instance: the thread that they died in rests by itself,
#: longer each time, and meanwhile a worker is needed for the other threads.
_LONGEST_AFTER_BOOT_S = 1.0
#: Longest time without any worker where the last one died before it attached. If it died later, one starts at once.
_LONGEST_WITHOUT_ANY_S = 1.0
#: Least time between two starts of such a lone worker: one that dies as it attaches would be forked without a pause.
_BETWEEN_LONE_STARTS_S = 0.1
#: No more doublings than a float can bear.
_MOST_DOUBLINGS = 60


class Pace:
    """The first worker that dies within a minute is replaced at once. The next one is replaced after `first_delay_s`,
    and the pause doubles for each further one.
    """

    def __init__(self, first_delay_s: float, longest_s: float = _LONGEST_DELAY_S) -> None:
        self._first_delay_s = first_delay_s
        self._longest_s = longest_s
        self._deaths: list[float] = []

    def delay_s(self, now: float) -> float:
        """Note a death at this monotonic time. How many seconds its replacement has to wait."""
        self._deaths = [when for when in self._deaths if now - when < _HEALTHY_S][-_MOST_DOUBLINGS:]
        earlier = len(self._deaths)
        self._deaths.append(now)
        return min(self._first_delay_s * 2 ** (earlier - 1), self._longest_s) if earlier else 0.0


class Vacancies:
    """Places of workers that died and are not to be replaced yet. Times are monotonic."""

    def __init__(self, first_delay_s: float) -> None:
        self._before_boot = Pace(first_delay_s)
        self._after_boot = Pace(first_delay_s, min(_LONGEST_DELAY_S, max(first_delay_s, _LONGEST_AFTER_BOOT_S)))
        self._ends: list[float] = []
        """When each of them may be filled, in order."""
        self._first_at = 0.0
        """When a worker may be started if there is none at all."""
        self._lone_start_at = -_BETWEEN_LONE_STARTS_S
        """When one was last started although all places rest."""
        self._none_before = 0.0
        """No worker is started before this time, because the system refused a fork."""

    def add(self, now: float, *, attached: bool, alone: bool) -> float:
        """Note the death of a worker without a batch in hand, which was the last one if it was `alone`. Returns in how
        many seconds the next one starts.
        """
        delay_s = (self._after_boot if attached else self._before_boot).delay_s(now)
        self._ends = sorted([*self._ends, now + delay_s])
        rest_s = 0.0 if attached else min(delay_s, _LONGEST_WITHOUT_ANY_S)
        self._first_at = max(now + rest_s, self._lone_start_at + _BETWEEN_LONE_STARTS_S)
        return self._first_at - now if alone else delay_s

    def put_off(self, until: float) -> None:
        """Start no worker before this time, for no place."""
        self._none_before = until

    def to_start(self, now: float, have: int, wanted: int) -> int:
        """How many workers to start now, where there are `have` of `wanted`."""
        missing = max(0, wanted - have)
        self._ends = [end for end in self._ends if end > now][:missing]
        if now < self._none_before or not missing:
            return 0
        if have == 0 and len(self._ends) == missing and now >= self._first_at:
            self._lone_start_at = now
            return 1
        return missing - len(self._ends)

    def filled(self, have: int, wanted: int) -> None:
        """Note that a worker was started: there are `have` of `wanted` now."""
        self._ends = self._ends[: max(0, wanted - have)]

    def next_at(self, have: int, wanted: int) -> float | None:
        """When to ask `to_start` again without news, None: never."""
        if have >= wanted:
            return None
        first = min(self._ends[0], self._first_at) if have == 0 and self._ends else min(self._ends, default=0.0)
        return max(first, self._none_before)
