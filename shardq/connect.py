"""From a URL to a queue. Beside the command line this is the only module that picks a driver."""

from __future__ import annotations

import errno
import os
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from shardq import drivers
from shardq.errors import ConfigurationError, SegmentUnavailable, shown
from shardq.protocols import Storage
from shardq.queue import Queue
from shardq.settings import StorageSettings

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


def is_redis(url: object) -> bool:
    """Whether the URL names a Redis or Valkey server."""
    return _parts(url).scheme in ("redis", "rediss", "redis+unix", "redis+cluster", "rediss+cluster")


def without_secrets(url: str) -> str:
    """The URL as it may be shown: without user and password, and without options, which may have them too."""
    if not (is_redis(url) or "@" in url or "password" in url):
        return url
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    # Not by `urlsplit`: a password that was not escaped has all characters.
    return f"{scheme}{mark}{rest.rpartition('@')[2].partition('?')[0]}"


def signpost(url: str) -> str:
    """The URL that another program is told to use: without user and password, with those of its options that it has to
    give as well.
    """
    options = [option for option in parse_qsl(_parts(url).query) if option[0] in _SIGNPOST_OPTIONS]
    query = f"?{urlencode(options)}" if options else ""
    return without_secrets(url).partition("?")[0] + query


def segment_name(url: str) -> str:
    """The NAME of `shm://NAME`. Raises `ConfigurationError`."""
    parts = _parts(url)
    if parts.scheme != "shm" or not parts.netloc or parts.path or parts.query or parts.fragment:
        raise ConfigurationError(f"{_shown(url)} names no shared-memory segment: write it as shm://NAME")
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
    storage = await _opened(url, settings)
    try:
        await storage.check_stays()
    except BaseException:
        await storage.close()
        raise
    return storage


async def _opened(url: str, settings: StorageSettings | None) -> Storage:
    if url == "memory://":
        return drivers.RuntimeStorage(settings)
    if _parts(url).scheme == "shm":
        try:
            from shardq.drivers.shared.attaching import attached
        except (OSError, ImportError) as error:  # the latter of native modules
            if not any(os.strerror(number) in str(error) for number in (errno.EMFILE, errno.ENFILE)):
                raise
            raise SegmentUnavailable(
                f"cannot load what {url} needs: {error}: let this process close some files, or raise `ulimit -n`"
            ) from error
        return await attached(segment_name(url), settings)
    if is_redis(url):
        from shardq.drivers.redis.connecting import connected

        return await connected(url, settings)
    raise ConfigurationError(f"{_shown(url)} cannot be connected to: use memory://, shm://NAME or redis://HOST:PORT")
