"""What becomes of a request that fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shardq.errors import ConfigurationError, shown
from shardq.settings import LONGEST_S


@dataclass(frozen=True)
class Retry:
    """What happens to a handler's request that fails: raises, runs too long, or takes its worker down.

    Only failures of a request that stands alone count. A batch of several that failed is taken again in smaller ones,
    until the culprit stands alone. Raises `ConfigurationError` for values that make no sense.
    """

    max_attempts: int = 5
    """After so many it becomes a dead letter."""
    backoff_s: float = 1.0
    """Seconds before the second attempt, doubled for each further one. The first retry after a death waits for none."""
    backoff_max_s: float = 300.0
    """Longest such wait."""
    jitter: bool = True
    """Shorten each wait by up to a half, differently for each request, so that many do not come at once."""
    on_failure: Literal["block", "skip"] = "block"
    """`block` keeps the thread waiting until the attempts are spent, so that its order holds. `skip` makes the request
    a dead letter at its first failure and goes on with the thread."""

    @property
    def _waits_s(self) -> tuple[float, float]:
        return self.backoff_s, self.backoff_max_s

    def __post_init__(self) -> None:
        numbers = type(self.max_attempts) is int and all(type(s) in (int, float) for s in self._waits_s)
        if not numbers or self.max_attempts < 1 or not all(0 <= wait_s <= LONGEST_S for wait_s in self._waits_s):
            raise ConfigurationError(
                f"{shown(self)} cannot be: it needs one attempt or more, and waits of 0 s to 10 years"
            )
        if not isinstance(self.jitter, bool):
            raise ConfigurationError(f"Retry(jitter={shown(self.jitter)}) cannot be: use True or False")
        if self.on_failure not in ("block", "skip"):
            raise ConfigurationError(f"Retry(on_failure={shown(self.on_failure)}) cannot be: use 'block' or 'skip'")
