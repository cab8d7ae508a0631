"""Handlers in lines of text: how fast they go, how long requests wait, and how long batches take."""

from __future__ import annotations

from collections.abc import Iterable

from shardq.cli.render import columns
from shardq.model import HandlerView, Times

HANDLER_TITLES = ("handler", "in/s", "out/s", "waited p50 p95 p99", "worked p50 p95 p99", "done", "failed", "dead")


def handlers_text(handlers: Iterable[HandlerView]) -> str:
    """Handlers in a table below another one. Empty: there are none."""
    rows = [handler_row(its) for its in handlers]
    return f"\n{columns(HANDLER_TITLES, rows)}" if rows else ""


def handler_row(view: HandlerView) -> tuple[str, ...]:
    """A handler in a row of a table."""
    return (
        view.handler,
        f"{view.accepted_per_s:,.1f}",
        f"{view.done_per_s:,.1f}",
        short_times(view.wait),
        short_times(view.work),
        f"{view.done:,}",
        f"{sum(view.failed.values()):,}",
        f"{view.dead:,}",
    )


def short_times(times: Times) -> str:
    """`350us 2.8ms 1.4s`: half of them, 95 and 99 percent took at most so long."""
    return " ".join(_short(seconds) for seconds in (times.p50_s, times.p95_s, times.p99_s) if seconds is not None)


def _short(seconds: float) -> str:
    """`350us`, `2.8ms`, `1.4s`."""
    for unit, size in (("us", 1e-6), ("ms", 1e-3)):
        if seconds < 1000 * size:
            return f"{seconds / size:.3g}{unit}"
    return f"{seconds:.3g}s"
