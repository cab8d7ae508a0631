"""What time it is for a storage. The contract has no verb that says it; a schedule shows it."""

from __future__ import annotations

from shardq.model import When
from shardq.pages import each
from shardq.protocols import Storage

#: So far ahead that it is not what any test waits for.
_SPAN_US = 90 * 365 * 86_400 * 1_000_000
_PIPE, _MESSAGE = "clock/Clock/0/0", b"now"


async def now_us(storage: Storage) -> int:
    """Unix microseconds of the storage's clock."""
    when = When(None, "every 60", _SPAN_US)
    assert await storage.append([(_PIPE, [_MESSAGE])], when=when, follow_up=True) == 1  # for a full storage as well
    [found] = [scheduled async for scheduled in each(storage.scheduled) if scheduled.pipe == _PIPE]
    assert await storage.unschedule(_PIPE, _MESSAGE) == 1
    return found.due_us - _SPAN_US
