"""A job queue that keeps order where order matters and uses all cores, over shared memory, without a broker."""

import importlib
import typing

from shardq.connect import connect, observe
from shardq.errors import ShardqError
from shardq.handler import Handler
from shardq.model import Retry, Route, Tube
from shardq.queue import Queue
from shardq.recurrent import DeferredHandler, RecurrentHandler
from shardq.results.tickets import Ticket
from shardq.version import __version__

if typing.TYPE_CHECKING:
    from shardq.embedded import Supervisor
    from shardq.working.worker import Worker

_LAZY = {"Supervisor": "shardq.embedded", "Worker": "shardq.working.worker"}

__all__ = [
    "DeferredHandler",
    "Handler",
    "Queue",
    "RecurrentHandler",
    "Retry",
    "Route",
    "ShardqError",
    "Supervisor",
    "Ticket",
    "Tube",
    "Worker",
    "__version__",
    "connect",
    "observe",
]


def __getattr__(name: str) -> typing.Any:
    """Imported when it is first asked for: a program that registers has neither, and `Supervisor` needs Linux."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
