"""Storages and locks, one technology each. A driver is imported when it is first asked for, with what it needs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardq.drivers.memory.lock import RuntimeLock
    from shardq.drivers.memory.storage import RuntimeStorage
    from shardq.drivers.redis.lock import RedisLock
    from shardq.drivers.redis.storage import RedisStorage
    from shardq.drivers.shared.storage import SharedLock, SharedStorage

_LAZY = {
    "RedisLock": "redis.lock",
    "RedisStorage": "redis.storage",
    "RuntimeLock": "memory.lock",
    "RuntimeStorage": "memory.storage",
    "SharedLock": "shared.lock",
    "SharedStorage": "shared.storage",
}

__all__ = ["RedisLock", "RedisStorage", "RuntimeLock", "RuntimeStorage", "SharedLock", "SharedStorage"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
