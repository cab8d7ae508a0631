"""What went through a storage between two looks: plain figures, from the counts of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shardq.model import BUCKETS, INBOX, Counts, CrewMember, HandlerView, Times
from shardq.sampling.tubes import Queued


@dataclass(frozen=True, slots=True)
class Look:
    """What one look counted."""

    at_s: float
    """When, by the clock of the sampler."""
    life: int
    """Counts of two looks belong together where this is the same."""
    counts: Counts
    handlers: Mapping[str, HandlerView]


@dataclass(frozen=True, slots=True)
class Flow:
    """What went through, between two looks."""

    span_s: float
    """How far the looks are apart."""
    accepted_per_s: float
    """Requests that came into tubes."""
    handled_per_s: float
    """Requests that left them: done, dead or taken out."""
    buried_per_s: float
    """Requests that became dead letters."""
    failed_per_s: float | None
    """Attempts that failed. None: nothing was counted of any handler."""
    wait: Times
    """For how long the oldest request of a batch had waited, once for each batch of this span."""
    work: Times
    """For how long a batch of this span was in hand."""


@dataclass(frozen=True, slots=True)
class HandlerSample:
    """A handler, as one look found it."""

    handler: str
    """`module/Handler`; `other` stands for those that the storage does not count by name."""
    queued: Queued
    workers: int
    """How many have a batch of it in hand."""
    counted: HandlerView | None
    """What was counted since the storage was made. None: nothing."""
    flow: Flow | None
    """What went through since the look before. None: nothing was counted, or there is no such look."""


def is_continued(before: Look, after: Look) -> bool:
    """Whether the counts of the later look are those of the earlier one and more. Otherwise the storage was made anew
    meanwhile.
    """
    pairs = zip(_growing(before.counts), _growing(after.counts), strict=True)
    return before.life == after.life and before.at_s < after.at_s and all(one <= other for one, other in pairs)


def flow_between(before: Look, after: Look) -> Flow:
    """In all, between two looks the later of which continues the other."""
    flows = [flow for name in after.handlers if (flow := handler_flow(name, before, after))]
    span_s, failed = after.at_s - before.at_s, [flow.failed_per_s or 0.0 for flow in flows]
    one, other = before.counts, after.counts
    return Flow(
        span_s,
        # Replies are counted apart, an instant before or after: what they are taken off may seem to go back.
        max(0, other.accepted - one.accepted) / span_s,
        max(0, other.handled - one.handled) / span_s,
        (other.buried - one.buried) / span_s,
        sum(failed) if after.handlers else None,
        _together(flow.wait for flow in flows),
        _together(flow.work for flow in flows),
    )


def handler_flow(name: str, before: Look, after: Look) -> Flow | None:
    """Of one handler. None: it was not counted, or its counts do not continue those before."""
    now, span_s = after.handlers.get(name), after.at_s - before.at_s
    if now is None:
        return None
    former = before.handlers.get(name)
    counts = _difference(_counts(now), _counts(former) if former else ())
    wait = _difference(now.wait.buckets, former.wait.buckets if former else ())
    work = _difference(now.work.buckets, former.work.buckets if former else ())
    if min(*counts, *wait, *work) < 0:
        return None
    accepted, done, dead, cancelled, failed = (count / span_s for count in counts)
    return Flow(span_s, accepted, done + dead + cancelled, dead, failed, Times.counted(wait), Times.counted(work))


def handler_samples(
    before: Look | None, after: Look, queued: Mapping[str, Queued], crew: Iterable[CrewMember]
) -> tuple[HandlerSample, ...]:
    """All handlers that were counted, have requests, or are in a worker's hands, by their names."""
    busy = [member.at.handler for member in crew if member.at.handler not in (None, INBOX)]
    names = sorted({*after.handlers, *queued, *busy})
    return tuple(
        HandlerSample(
            name,
            queued.get(name, Queued()),
            busy.count(name),
            after.handlers.get(name),
            handler_flow(name, before, after) if before else None,
        )
        for name in names
    )


def _growing(counts: Counts) -> tuple[int, ...]:
    accepted, handled = counts.accepted + counts.replies, counts.handled + counts.replies_taken
    return accepted, handled, counts.buried, counts.evicted


def _counts(view: HandlerView) -> tuple[int, ...]:
    return view.accepted, view.done, view.dead, view.cancelled, sum(view.failed.values())


def _difference(now: Sequence[int], former: Sequence[int]) -> list[int]:
    return [one - other for one, other in zip(now, former or [0] * len(now), strict=True)]


def _together(times: Iterable[Times]) -> Times:
    """All times of several handlers."""
    return Times.counted([sum(counts) for counts in zip([0] * BUCKETS, *(its.buckets for its in times), strict=True)])
