"""Whether coroutines may suspend in this thread. `drive` runs them without an event loop, so there they may not."""

from __future__ import annotations

import threading


class _Here(threading.local):
    blocking: bool = False
    """True while `drive` runs a coroutine in this thread: code that has to wait blocks the thread."""


here = _Here()
