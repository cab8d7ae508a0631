"""A reason, and the words that several of them have in common."""

from __future__ import annotations

from dataclasses import dataclass

from shardq.model import WorkerFacts
from shardq.text.wording import counted


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for which requests do not run now, or do not end."""

    code: str
    """A name for programs: `docs/reference/json.md` has all of them."""
    text: str
    """A sentence or two."""
    advice: str
    """What to do. Empty: nothing needs to be done."""


def named(worker: WorkerFacts) -> str:
    """`worker 3 (pid 71)`, `process 71 on queue-2`."""
    there = f" on {worker.host}" if worker.host else ""
    number, pid = worker.at.number, worker.at.pid
    return f"worker {number} (pid {pid}){there}" if number else f"process {pid}{there}"


def many(number: int) -> str:
    """`3 requests`."""
    return counted(number, "request")
