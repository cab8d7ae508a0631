"""How requests become messages and come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from shardq.model import Batch


class Serializer(Protocol):
    """Turns requests into messages and back."""

    def encode(self, request_type: Any, requests: Sequence[Any]) -> list[bytes]:
        """One message for each request. Raises `RequestError` naming the request that cannot be encoded."""
        ...

    def decode(self, request_type: Any, batch: Batch) -> list[Any]:
        """The requests of a batch. Raises `DecodeError`."""
        ...
