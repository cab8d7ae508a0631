"""Where the server is, and how to speak with it. No text about it ever shows a password."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.connection import parse_url

from shardq.errors import ConfigurationError


@dataclass(frozen=True, repr=False)
class Address:
    """One server."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    """Of a unix socket; then host and port do not count."""
    db: int = 0
    username: str | None = None
    password: str | None = None
    protocol: int = 2
    """RESP2 or RESP3."""
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        if self.path:
            return f"{self.path}, database {self.db}"
        return f"{self.host}:{self.port}, database {self.db}"

    def __repr__(self) -> str:
        return f"<server at {self}>"

    @property
    def greeting(self) -> list[tuple[bytes, ...]]:
        """What a new connection says first."""
        words = [] if self.password is None else [(self.username or "default").encode(), self.password.encode()]
        said = list[tuple[bytes, ...]]()
        if self.protocol == 3:
            said.append((b"HELLO", b"3", *((b"AUTH", *words) if words else ())))
        elif words:
            said.append((b"AUTH", *(words if self.username else words[1:])))
        if self.db:
            said.append((b"SELECT", b"%d" % self.db))
        return said


def of_client(redis: Any) -> Address:
    """Where a client of `redis.asyncio` (or `redis`) connects to. Raises `ConfigurationError` for what is none."""
    pool = getattr(redis, "connection_pool", None)
    if pool is None:
        raise ConfigurationError(
            f"{type(redis).__name__} is no Redis client: give redis.asyncio.Redis(...) or "
            "redis.asyncio.cluster.RedisCluster(...)"
        )
    return _of_options(pool.connection_kwargs, "SSL" in pool.connection_class.__name__)


def seeds_of_client(redis: Any) -> tuple[Address, ...]:
    """Servers of the cluster that a client connects to; of another client none."""
    nodes = getattr(getattr(redis, "nodes_manager", None), "startup_nodes", {})
    options = getattr(redis, "connection_kwargs", {})
    tls = "SSL" in getattr(options.get("connection_class"), "__name__", "")
    return tuple(_of_options(options | {"host": node.host, "port": node.port, "db": 0}, tls) for node in nodes.values())


class Target(NamedTuple):
    """What a URL names."""

    address: Address
    options: Mapping[str, str]
    """What is said of the storage: `prefix`, `partitions`."""
    seeds: tuple[Address, ...] = ()
    """Some servers of a cluster; none: it is one server."""


#: Options of a URL that speak of the storage.
_OF_STORAGE = ("prefix", "partitions")


def of_url(url: str) -> Target:
    """Raises `ConfigurationError`."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    own = {name: options.pop(name) for name in _OF_STORAGE if name in options}
    scheme, _, more = parts.scheme.partition("+")
    scheme = "unix" if more == "unix" else scheme
    query = f"?{urlencode(options)}" if options else ""
    user, at, hosts = parts.netloc.rpartition("@")
    try:
        found = [
            _of_options(
                parse_url(f"{scheme}://{user}{at}{host}{parts.path}{query}"),  # type: ignore[no-untyped-call]
                scheme == "rediss",
            )
            for host in (hosts.split(",") if more == "cluster" else [hosts])
        ]
    except (ValueError, TypeError):
        raise ConfigurationError(
            "this Redis URL cannot be used: write it as redis://USER:PASSWORD@HOST:PORT/DATABASE, rediss:// for TLS, "
            "redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT for a cluster, or redis+unix:///PATH"
        ) from None
    if more == "cluster" and found[0].db:
        raise ConfigurationError("a Redis cluster has no databases: leave /DATABASE out of its URL")
    return Target(found[0], own, tuple(found) if more == "cluster" else ())


def _of_options(options: Mapping[str, Any], tls: bool) -> Address:
    return Address(
        host=options.get("host") or "localhost",
        port=int(options.get("port") or 6379),
        path=options.get("path"),
        db=int(options.get("db") or 0),
        username=options.get("username") or None,
        password=options.get("password") or None,
        protocol=3 if str(options.get("protocol")) == "3" else 2,
        tls=_context(options) if tls else None,
    )


def _context(options: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path"))
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password"))
    required = str(options.get("ssl_cert_reqs", "required"))
    if required in ("none", "0") or options.get("ssl_check_hostname") is False:
        context.check_hostname = False
    if required in ("none", "0"):
        context.verify_mode = ssl.CERT_NONE
    return context
