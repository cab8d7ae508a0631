"""What does the frequent case of the verbs on a segment in this process: the extension in C, or Python."""

from __future__ import annotations

from shardq._core.choice import VARIABLE
from shardq.shm.core import engine_name

__all__ = ["VARIABLE", "engine_name"]
