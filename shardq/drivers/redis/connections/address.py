"""Where the server is, and how to speak with it. No text about it ever shows a password."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from redis.connection import parse_url

from shardq.drivers.redis.connections import tls
from shardq.errors import ConfigurationError, shown

#: Seconds for a new connection, and for the server to say anything while an answer is due.
CONNECT_S, ANSWER_S = 5.0, 30.0


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
    connect_s: float = CONNECT_S
    answer_s: float = ANSWER_S
    replicas: int = 0
    """So many replicas must have what an application stores before its call returns."""
    fsync: bool = False
    """Whether it must be on disk as well, at the server and at these replicas."""

    def __str__(self) -> str:
        if self.path:
            return f"{self.path}, database {self.db}"
        return f"{self.host}:{self.port}, database {self.db}"

    def __repr__(self) -> str:
        return f"<server at {self}>"

    @property
    def greeting(self) -> list[tuple[bytes, ...]]:
        """What a new connection says first."""
        # A user who needs no password has to be named as well: without a name it is the default user.
        signs_in = self.username is not None or self.password is not None
        words = [(self.username or "default").encode(), (self.password or "").encode()] if signs_in else []
        said = list[tuple[bytes, ...]]()
        if self.protocol == 3:
            said.append((b"HELLO", b"3", *((b"AUTH", *words) if words else ())))
        elif words:
            said.append((b"AUTH", *(words if self.username else words[1:])))
        if self.db:
            said.append((b"SELECT", b"%d" % self.db))
        return said


def of_client(redis: Any) -> Address:
    """Where a client of `redis.asyncio` (or `redis`) connects to. Raises `ConfigurationError` for what is none, and for
    one that finds its server, or its user and password, while it connects.
    """
    pool = getattr(redis, "connection_pool", None)
    if pool is None:
        raise ConfigurationError(
            f"{type(redis).__name__} is no Redis client: give redis.asyncio.Redis(...) or "
            "redis.asyncio.cluster.RedisCluster(...)"
        )
    if hasattr(pool, "sentinel_manager"):
        raise ConfigurationError(
            "a client of Sentinel cannot be used: give one with a name that leads to the master, or use a cluster"
        )
    _check_credentials(pool.connection_kwargs)
    return _of_options(pool.connection_kwargs, "SSL" in pool.connection_class.__name__)


def seeds_of_client(redis: Any) -> tuple[Address, ...]:
    """Servers of the cluster that a client connects to; of another client none. Raises `ConfigurationError` as
    `of_client` does.
    """
    nodes = getattr(getattr(redis, "nodes_manager", None), "startup_nodes", {})
    options = getattr(redis, "connection_kwargs", {})
    if nodes:
        _check_credentials(options)
    tls = "SSL" in getattr(options.get("connection_class"), "__name__", "")
    return tuple(_of_options(options | {"host": node.host, "port": node.port, "db": 0}, tls) for node in nodes.values())


def _check_credentials(options: Mapping[str, Any]) -> None:
    if options.get("credential_provider"):
        raise ConfigurationError("a client with a credential_provider cannot be used: give it username and password")


class Target(NamedTuple):
    """What a URL names."""

    address: Address
    options: Mapping[str, str]
    """What is said of the storage: `prefix`, `partitions`, `replicas`, `fsync`."""
    seeds: tuple[Address, ...] = ()
    """Some servers of a cluster; none: it is one server."""


#: Options of a URL that speak of the storage.
_OF_STORAGE = ("prefix", "partitions", "replicas", "fsync")
#: Those that say how to connect, as redis-py has them.
_OF_CONNECTION = ("db", "username", "password", "protocol", "socket_timeout", "socket_connect_timeout", *tls.OPTIONS)
#: Those of redis-py that change nothing here: connections are few, kept alive, made anew where they broke, and carry
#: bytes.
_WITHOUT_MEANING = (
    "client_name",
    "decode_responses",
    "encoding",
    "encoding_errors",
    "health_check_interval",
    "legacy_responses",
    "max_connections",
    "retry_on_error",
    "retry_on_timeout",
    "socket_keepalive",
    "socket_read_size",
    "timeout",
)


def of_url(url: str) -> Target:
    """Raises `ConfigurationError`."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        own = {name: options.pop(name) for name in _OF_STORAGE if name in options}
        for name in options.keys() - _OF_CONNECTION:
            _check_without_meaning(name, parts)
            del options[name]
        scheme, _, more = parts.scheme.partition("+")
        scheme = "unix" if more == "unix" else scheme
        _check_exact(parts, options, is_socket=scheme == "unix")
        query = f"?{urlencode(options)}" if options else ""
        user, at, hosts = parts.netloc.rpartition("@")
        found = [
            _read(f"{scheme}://{user}{at}{host}{parts.path}{query}", scheme == "rediss")
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


def _read(url: str, is_tls: bool) -> Address:
    """Raises `ValueError` and `TypeError`."""
    found = parse_url(url)  # type: ignore[no-untyped-call]
    return _of_options(found, is_tls, found.get("socket_timeout"))


def _check_without_meaning(name: str, parts: SplitResult) -> None:
    if name in _WITHOUT_MEANING:
        return
    # What stands before a late @, or behind a password, may be of a password that was not escaped.
    its = "such option" if "@" in "".join(parts[2:]) or "password=" in parts.query else f"option {name}"
    known = ", ".join((*_OF_STORAGE, *_OF_CONNECTION))
    raise ConfigurationError(f"a Redis URL has no {its}: those there are: {known}")


def _check_exact(parts: SplitResult, options: Mapping[str, str], *, is_socket: bool) -> None:
    """Refuse what redis-py passes over, which would lead to another server or database than the one that was meant."""
    if parts.fragment:  # a password with a "#" that was not escaped ends the rest of the URL
        raise ValueError
    if is_socket and (parts.netloc.rpartition("@")[2] or not parts.path.startswith("/")):  # a slash is missing
        raise ValueError
    database = parts.path.strip("/")
    if database and not is_socket and not database.isdecimal():
        raise ConfigurationError(
            "the database in a Redis URL is a number, as in redis://HOST:PORT/0: what keeps programs apart by name is "
            "an option, as in redis://HOST:PORT/0?prefix=NAME"
        )
    if (protocol := options.get("protocol", "2")) not in ("2", "3"):
        raise ConfigurationError(f"protocol={shown(protocol)} cannot be: give 2 or 3")


def _of_options(options: Mapping[str, Any], is_tls: bool, answer_s: Any = None) -> Address:
    """`answer_s`: that of a client is for its own commands, and stays out."""
    return Address(
        host=options.get("host") or "localhost",
        port=int(options.get("port") or 6379),
        path=options.get("path"),
        db=int(options.get("db") or 0),
        username=options.get("username") or None,
        password=options.get("password") or None,
        protocol=3 if str(options.get("protocol")) == "3" else 2,
        tls=tls.context_of(options) if is_tls else None,
        connect_s=float(options.get("socket_connect_timeout") or CONNECT_S),
        answer_s=float(answer_s or ANSWER_S),
    )
