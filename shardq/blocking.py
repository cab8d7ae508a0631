"""Whether coroutines may suspend here: `drive` runs them where no loop would come back to them."""

from __future__ import annotations

import threading


class _Here(threading.local):
    blocking: bool = False
    """True while a coroutine is driven in this thread: what has to wait blocks."""


here = _Here()
