"""What the code that runs a worker can have the worker do at certain moments."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

from shardq.model import Batch
from shardq.text.portrait import Alarm


def _nothing(*arguments: Any) -> None:
    """By default nothing is done."""


def _no_alarm(timeout_s: float) -> Any:
    return nullcontext()


class Hooks(NamedTuple):
    """Given to a `Worker` by the code that runs it. A supervised worker process has its own."""

    alarm: Alarm = _no_alarm
    """Interrupts plain code that takes too long. By default nothing does."""
    after_step: Callable[[BaseException | None], None] = _nothing
    """Called whenever the handler's code ends a step: it waits (None), has returned, or raised."""
    before_sleep: Callable[[], None] = _nothing
    """Called before this process sleeps until there is work. Where there is work already it does not sleep then."""
    after_batch: Callable[[int], None] = _nothing
    """Called after each batch with how many requests were done."""
    progress: Callable[[Batch, float, float | None, str], None] = _nothing
    """Called with the batch in hand, and what the handler says of how far it has come: done, total, note."""
    interruptible: bool = True
    """Whether interrupts and cancellations may come from outside: then they end the loop. Where none are sent from
    outside, they come from a handler's code, and count as a failure like others.
    """
    renews: bool = True
    """Whether the worker renews the lease of its claim, where a claim lives by time. A supervisor that renews the
    claims of all its workers turns it off.
    """
