"""What this process does on a signal, asked often."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

#: As `signal.getsignal`, but for its constants, which are numbers here. It looks among these for each handler: 6 us.
handler_of: Callable[[int], Any] = signal._signal.getsignal  # type: ignore[attr-defined]
