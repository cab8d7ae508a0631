"""A job queue that keeps order where order matters and uses all cores, over shared memory, without a broker."""

import importlib
import typing

from shardq.connect import connect
from shardq.errors import ShardqError
from shardq.handler import Handler
from shardq.model import Retry, Route, Tube
from shardq.queue import Queue
from shardq.recurrent import DeferredHandler, RecurrentHandler
from shardq.version import __version__
from shardq.working.worker import Worker

if typing.TYPE_CHECKING:
    from shardq.embedded import Supervisor

__all__ = [
    "DeferredHandler",
    "Handler",
    "Queue",
    "RecurrentHandler",
    "Retry",
    "Route",
    "ShardqError",
    "Supervisor",
    "Tube",
    "Worker",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> typing.Any:
    """`Supervisor` is imported when it is first asked for: it needs Linux, the rest does not."""
    if name != "Supervisor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("shardq.embedded").Supervisor
