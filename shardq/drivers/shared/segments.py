"""The segments of a host by their names: what a name may be, and which of them can go."""

from __future__ import annotations

from shardq.shm.files.names import LONGEST_NAME
from shardq.shm.processes.shares import Share
from shardq.shm.registry import PRIVATE_PREFIX, destroy, destroy_abandoned, is_unusable

__all__ = ["LONGEST_NAME", "PRIVATE_PREFIX", "Share", "destroy", "destroy_abandoned", "is_unusable"]
