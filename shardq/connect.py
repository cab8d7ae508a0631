"""From a URL to a queue. Beside the command line this is the only module that picks a driver."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from shardq import drivers
from shardq.errors import ConfigurationError, SegmentUnavailable, shown
from shardq.protocols import Observer, Storage
from shardq.queue import Queue
from shardq.settings import StorageSettings, check_kind

#: Options of a URL that are no secret, and say which storage it is and how it is written to.
_SIGNPOST_OPTIONS = ("db", "prefix", "partitions", "protocol", "replicas", "fsync")


async def connect(url: str, settings: StorageSettings | None = None) -> Queue:
    """A queue on the storage that `url` names: `memory://`, `shm://NAME` for a segment that exists, or a Redis or
    Valkey server: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, `rediss://` for TLS, `redis+unix:///PATH`, and for a
    cluster `redis+cluster://HOST:PORT,HOST:PORT` or `rediss+cluster://`, with some of its servers. There `?prefix=`
    begins the names of all keys, in place of `StorageSettings.prefix`.

    Close it when done, or use it as `async with await connect(url) as queue`. Raises `ConfigurationError` for a URL
    that cannot be used, `StorageMoved` where what the storage held is elsewhere, and what the driver raises.
    """
    return Queue(await open_storage(url, settings))


def observe(url: str) -> Observer:
    """What looks at the storage that `url` names, as `connect` takes it, without taking part in it: it works beside a
    family that is stopped, hung or dead, and beside as many processes as can be attached. Close it when done.

    Raises `ConfigurationError` for a URL that cannot be used, and for `memory://`, which no other process can look
    into; for a segment `SegmentMissing`, `SegmentNotReady`, `SegmentVersionError`, `SegmentForeign`,
    `SegmentUntrusted` and `SegmentUnavailable`. A server is connected to at the first look.
    """
    if is_redis(url):
        from shardq.drivers.redis.connecting import storage_of
        from shardq.drivers.redis.observing import RedisObserver

        return RedisObserver(storage_of(url))
    if _parts(url).scheme != "shm":
        raise ConfigurationError(f"{_shown(url)} cannot be looked into: use shm://NAME or redis://HOST:PORT")
    with _loading(url):
        from shardq.drivers.shared.observing import SharedObserver
    return SharedObserver.attach(segment_name(url))


def is_redis(url: object) -> bool:
    """Whether the URL names a Redis or Valkey server."""
    return _parts(url).scheme in ("redis", "rediss", "redis+unix", "redis+cluster", "rediss+cluster")


def without_secrets(url: str) -> str:
    """The URL as it may be shown: without user and password, and without options, which may have them too."""
    if not (is_redis(url) or "@" in url or "password" in url):
        return url
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    # Not by `urlsplit`: a password that was not escaped has all characters. Where one of them stands in the options, or
    # options seem to begin in it, there is no telling what is the secret.
    before, _, host = rest.rpartition("@")
    return f"{scheme}{mark}..." if "?" in before else f"{scheme}{mark}{host.partition('?')[0]}"


def signpost(url: str) -> str:
    """The URL that another program is told to use: without user and password, with those of its options that it has to
    give as well.
    """
    parts = _parts(url)
    options = [option for option in parse_qsl(parts.query) if option[0] in _SIGNPOST_OPTIONS]
    query = f"?{urlencode(options)}" if options else ""
    # Not by `geturl`: it leaves out the slashes before an empty host, as of a unix socket.
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


def segment_name(url: str) -> str:
    """The NAME of `shm://NAME`. Raises `ConfigurationError`."""
    parts = _parts(url)
    named = parts.netloc and "@" not in parts.netloc  # before which a password may stand, meant for a server
    if parts.scheme != "shm" or not named or parts.path or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{_shown(url)} names no shared-memory segment: write it as shm://NAME, or redis://HOST:PORT for a server"
        )
    return parts.netloc


def _shown(url: object) -> str:
    return shown(without_secrets(url) if isinstance(url, str) else url)


def _parts(url: object) -> SplitResult:
    """The parts of a URL; all of them are empty if the value is no URL."""
    try:
        return urlsplit(url if isinstance(url, str) else "")
    except ValueError:  # `urlsplit` takes text in brackets for an IPv6 address
        return urlsplit("")


async def open_storage(url: str, settings: StorageSettings | None = None) -> Storage:
    """The storage of `connect`."""
    check_kind(settings, StorageSettings)
    storage = await _opened(url, settings)
    try:
        await storage.check_stays()
    except BaseException:
        await storage.close()
        raise
    return storage


@contextmanager
def _loading(url: str) -> Iterator[None]:
    """Tell what to do where this process has too many files open to import what the URL needs."""
    try:
        yield
    except (OSError, ImportError) as error:  # the latter of native modules
        if not any(os.strerror(number) in str(error) for number in (errno.EMFILE, errno.ENFILE)):
            raise
        raise SegmentUnavailable(
            f"cannot load what {url} needs: {error}: let this process close some files, or raise `ulimit -n`"
        ) from error


async def _opened(url: str, settings: StorageSettings | None) -> Storage:
    if url == "memory://":
        return drivers.RuntimeStorage(settings)
    if _parts(url).scheme == "shm":
        with _loading(url):
            from shardq.drivers.shared.attaching import attached
        return await attached(segment_name(url), settings)
    if is_redis(url):
        from shardq.drivers.redis.connecting import connected

        return await connected(url, settings)
    raise ConfigurationError(f"{_shown(url)} cannot be connected to: use memory://, shm://NAME or redis://HOST:PORT")
