"""A job queue that keeps order where order matters and uses all cores, over shared memory, without a broker."""

from shardq.connect import connect
from shardq.errors import ShardqError
from shardq.handler import Handler
from shardq.model import Route, Tube
from shardq.queue import Queue
from shardq.version import __version__
from shardq.worker import Worker

__all__ = ["Handler", "Queue", "Route", "ShardqError", "Tube", "Worker", "__version__", "connect"]
