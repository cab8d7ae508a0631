"""Tubes that share their room on every driver: where there are partitions, each has room of its own."""

from __future__ import annotations

from itertools import count, islice

from shardq.drivers.redis.servers.layout import Layout
from shardq.model import key_of
from tests.support.drivers import MOST_PARTITIONS

_LAYOUT = Layout("", MOST_PARTITIONS)


def sharing(pipe: str, handler: str, number: int) -> list[str]:
    """So many tubes of the handler, each of another thread, that share the room of this one."""
    place = _LAYOUT.partition_of(key_of(pipe))
    keys = (f"{handler}/{thread}" for thread in count(100))
    return [f"{key}/0" for key in islice((key for key in keys if _LAYOUT.partition_of(key) == place), number)]
