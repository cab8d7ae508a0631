"""How a worker knows that a function was named by an application whose functions it may call.

Messages are data: a process that can write to a storage must not have workers import what it names. So an application
and the workers of its family share a key, which the storage never has, and with each name comes a proof that only
holders of the key can make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardq.lazy import Lazy

if TYPE_CHECKING:
    import hashlib
    import hmac
else:
    hashlib, hmac = Lazy("hashlib"), Lazy("hmac")

key: str | None = None
"""The key of this process, where it is a supervisor or a worker that was given one."""


def proof(key: str, name: str) -> bytes:
    """The proof that a function of this name was named by a holder of the key."""
    return hashlib.blake2b(name.encode(), key=hashlib.sha256(key.encode()).digest(), digest_size=16).digest()


def is_proven(name: str, given: bytes) -> bool:
    """Whether a holder of this process's key named the function."""
    return key is not None and hmac.compare_digest(proof(key, name), given)
