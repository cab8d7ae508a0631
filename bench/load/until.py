"""Waiting for what rings no bell: which workers sleep and how much is left over, a scenario sees only by looking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Far below what the scenarios measure that wait so; none of them counts the looks.
LOOK_S = 0.002


async def until(holds: Callable[[], bool]) -> None:
    """Look again and again until it holds."""
    while not holds():  # noqa: ASYNC110 - nothing here could be waited for
        await asyncio.sleep(LOOK_S)
