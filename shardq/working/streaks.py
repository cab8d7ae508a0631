"""How often in a row something went wrong in a thread, for rests that grow."""

from __future__ import annotations

#: Of so many threads that is known. There may be any number of them, one for each key, and others may serve them later.
MOST_THREADS = 16_384


class Streaks:
    """Those of the threads in which it went wrong last."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def again(self, key: str) -> int:
        """It went wrong once more. Returns how often that is, in a row."""
        times = self._times.pop(key, 0) + 1
        if len(self._times) >= MOST_THREADS:
            del self._times[next(iter(self._times))]
        self._times[key] = times
        return times

    def end(self, key: str) -> None:
        """It went well."""
        self._times.pop(key, None)
