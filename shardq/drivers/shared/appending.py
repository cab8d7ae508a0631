"""Which verb of the segment stores what one `append` is given."""

from __future__ import annotations

import time
from collections.abc import Sequence

from shardq.drivers.shared.due import promote_what_is_due
from shardq.model import Part, When, check_parts
from shardq.scheduling.schedule import resolved_us
from shardq.shm.store import Store


def append(store: Store, parts: Sequence[Part], when: When | None, share: int, *, absent: bool) -> int | None:
    """See `Storage.append`. `share` says which room it may use. Raises `SegmentBusy`, with nothing stored."""
    if len(parts) > 1:
        parts = [part for part in parts if part[1]]
        check_parts(parts, store.segment.layout.step_parts)
    count = count_of(parts)
    if not count:
        return 0
    if when is None and not absent:
        return count if store.appending.append(parts, share=share) else None
    due_us = max(1, resolved_us(when, time.time_ns() // 1000)) if when else 0
    if when and when.schedule:
        accepted = store.deferring.repeat(parts, when.schedule, due_us, absent=absent, share=share)
    elif absent:
        accepted = store.appending.append_absent(parts, due_us=due_us, share=share)
    else:
        accepted = count if store.deferring.defer(parts, due_us, share=share) else None
    if due_us:
        promote_what_is_due(store)
    return accepted


def count_of(parts: Sequence[Part]) -> int:
    """How many messages they have."""
    count = 0
    for _, messages in parts:
        count += len(messages)
    return count
