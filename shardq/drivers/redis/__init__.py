"""The driver of many hosts: a Redis or Valkey server.

What is stored lies in partitions, each a handful of keys with one hash tag (`layout`). A verb is one script (`lua/`,
`scripts`), sent by the connection of the running event loop (`server`, `links`, `wire`). A coroutine that has to wait
is told by the server, over one subscription of its event loop (`bells`, `sleeping`).
"""

from importlib.util import find_spec

from shardq.errors import ShardqError

for _package in ("hiredis", "redis"):
    if find_spec(_package) is None:
        raise ShardqError(f"Redis needs the package {_package}, which is not installed: pip install shardq[redis]")
