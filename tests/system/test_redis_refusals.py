"""Servers and URLs that a supervisor cannot serve: it says why, and ends with the code for that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from shardq.supervisor.exits import Exit
from tests.support.jobs import Record
from tests.support.programs import Supervise
from tests.support.redis_server import Server, packaged_redis, packaged_valkey

EVICTING = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")


@pytest.mark.parametrize(
    ("program", "options", "more", "reason"),
    [
        (packaged_valkey, EVICTING, "", "set noeviction"),
        (packaged_valkey, (), "?db=99", "no such database"),
        (packaged_valkey, (), "?fsync=true", "fsync=true needs a server with appendonly yes"),
        (packaged_redis, (), "?fsync=true", "for fsync=true Redis 7.2"),
        (packaged_valkey, (), "?bogus=1", "a Redis URL has no option bogus"),
    ],
    ids=["evicts", "database", "no file", "too old", "option"],
)
def test_a_supervisor_says_why_it_cannot_serve(
    program: Callable[[], str], options: Sequence[str], more: str, reason: str
) -> None:
    server = Server(program(), *options)
    server.start()
    supervisor = Supervise(f"{Record.__module__}:Record", "--url", f"{server.url}{more}")
    try:
        assert supervisor.end() == Exit.USAGE
    finally:
        supervisor.discard()
        server.end()
    assert reason in supervisor.heard
    assert "serving" not in supervisor.heard
    assert "Traceback" not in supervisor.heard
