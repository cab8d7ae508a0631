"""What errors of the server mean, and of the way to it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable

from hiredis import ReplyError

from shardq.errors import (
    ConfigurationError,
    FencedError,
    ShardqError,
    StorageDamaged,
    StorageMoved,
    StorageRefused,
)

#: The server cannot work now, and will be able to later.
_OUTAGES = frozenset(
    (
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "READONLY",
        "UNBLOCKED",
        "UNKILLABLE",
    )
)
#: Of these, the server is not the one any more that the address names, or soon will not be.
_ELSEWHERE = frozenset(("MASTERDOWN", "READONLY", "UNBLOCKED"))
_MOVING = frozenset(("ASK", "MOVED", "TRYAGAIN"))
_REFUSALS = frozenset(("DENIED", "NOAUTH", "NOPERM", "WRONGPASS"))
#: In an error of a script, servers before version 7 name that of its command further behind.
_INSIDE = re.compile(r"(?:^|: -)([A-Z]{3,})\b")


class Outage(Exception):
    """The server cannot be reached, or cannot work now."""


class Elsewhere(Outage):
    """The server is a replica, or has not the keys: a new connection may lead to the one that is meant."""


class Moving(Elsewhere):
    """The keys are at another server of its cluster, or on their way there: in a moment they are."""


class TooFewCopies(Outage):
    """The server has what was asked, and too few copies of it were confirmed."""


class NoMemory(Exception):
    """The server has no memory left for what was asked; nothing changed."""


#: Errors without a word of their own, by what stands in them, and what they mean.
_WORDLESS: dict[str, Callable[[str], Exception]] = {
    "max number of clients": lambda text: Outage(text),
    "replica instances": lambda text: Elsewhere(text),
    "ERR AUTH": lambda text: StorageRefused(f"{text} Leave the password out of the URL"),
    "DB index": lambda text: ConfigurationError(
        f"the server has no such database: {text}: give another /DATABASE in the URL"
    ),
    "executing the script": lambda text: StorageRefused(_refused(text)),
    "ACL failure": lambda text: StorageRefused(_refused(text)),
    "appendonly": lambda text: ConfigurationError(f"fsync=true needs a server with appendonly yes: {text}"),
    "cluster support disabled": lambda text: ConfigurationError(
        f"the server is none of a cluster: {text}: begin the URL with redis:// or rediss://"
    ),
    "nknown command": lambda text: ConfigurationError(
        f"Redis 6.2 or later is needed, or Valkey, and for fsync=true Redis 7.2: {text}"
    ),
}

#: What OpenSSL finds wrong with a certificate only where it is strict, as it is from Python 3.13 on: from
#: X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA to X509_V_ERR_EXTENSIONS_REQUIRE_VERSION_3 of its x509_vfy.h.
_STRICT = range(80, 94)
_MADE_ANEW = "from 3.13 on, Python insists on the extensions of RFC 5280: make the certificates anew with these"


def lacks_script(error: Exception) -> bool:
    return str(error).startswith("NOSCRIPT")


def meaning(error: Exception) -> Exception:
    """The error to raise, or to try again for, in the place of one of the server or of the connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = _MADE_ANEW if error.verify_code in _STRICT else "name its CA by ?ssl_ca_certs=FILE"
        return StorageRefused(f"the certificate of the server is not trusted: {error.verify_message}: {advice}")
    if not isinstance(error, ReplyError):
        return error
    text, _, _ = str(error).partition(", with args beginning with")  # which may be a password
    words = _INSIDE.findall(text)
    if "FENCED" in words:
        return FencedError(text.partition("FENCED ")[2])
    if "LEFT" in words:
        return StorageMoved(text.partition("LEFT ")[2])
    if "OOM" in words:
        return NoMemory(text)
    if not _ELSEWHERE.isdisjoint(words):
        return Elsewhere(text)
    if not _MOVING.isdisjoint(words):
        return Moving(text)
    if not _OUTAGES.isdisjoint(words):
        return Outage(text)
    if not _REFUSALS.isdisjoint(words):
        return StorageRefused(_refused(text))
    of = next((made for part, made in _WORDLESS.items() if part in text), None)
    return of(text) if of else StorageDamaged(f"the server answered: {text}")


def is_answer(error: Exception) -> bool:
    """Whether it is to be raised, and not tried again."""
    return isinstance(error, ShardqError | NoMemory)


def _refused(text: str) -> str:
    return f"the server refuses: {text}: check user, password and rights"
