"""Where the results for a caller arrive: a thread that the caller has a claim on, as a worker has on the threads it
serves.

So a result is an output of the batch that it comes of, the caller is woken as a worker is, and it lives as long as its
claim does. What is in an inbox without a caller is offered to workers, which drop it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from shardq.errors import FencedError
from shardq.handler import Handler
from shardq.model import EMPTY, INBOX, Hand, Terms, inbox_key
from shardq.protocols import Storage

#: Most replies that a caller reads at once.
_AT_ONCE = 64


class Inbox(Handler[Any]):
    """The results that no caller waits for any more. Nothing can be registered to it."""

    def handle(self, *requests: Any) -> None:
        """Let them leave."""


_TERMS = {INBOX: Terms((0,), _AT_ONCE)}
_NO_OTHERS = frozenset[str]()


class OpenInbox:
    """An inbox of this process, from `open` to `close`."""

    def __init__(self, storage: Storage, number: int | None = None) -> None:
        """`number`: None for one that no other inbox has."""
        self._storage = storage
        self.number = int.from_bytes(os.urandom(8), "little") >> 1 if number is None else number
        self._hand = Hand(inbox_key(self.number), 0, EMPTY)
        self.lost: FencedError | None = None
        """Why nothing comes to it any more, once that is known."""

    @property
    def is_open(self) -> bool:
        return self._hand.token != 0

    async def open(self) -> bool:
        """False: another process, or another inbox of this one, has this number. Raises `QueueFull` and
        `SegmentNoRoom`.
        """
        key, _, batch = self._hand
        self._hand = Hand(key, await self._storage.claim(key), batch)
        return self.is_open

    async def read(self, timeout_s: float | None) -> Sequence[bytes]:
        """The replies that arrived, as soon as there are any. Empty: after so many seconds there are none. Those of the
        call before leave the inbox. Raises `FencedError` where the claim on it is over.
        """
        former = self._hand
        self._hand = Hand(former.key, former.token, EMPTY)
        try:
            found = await self._storage.rest(former, _NO_OTHERS, _TERMS, timeout_s)
        except FencedError as error:
            self.lost = FencedError(
                "the results that this process waits for are dropped: it was stopped, or could not reach the server, "
                "for longer than its lease, and counts as dead. Make the call again"
            )
            raise self.lost from error
        if found is None or not found.batch.count:
            return ()
        self._hand = found
        return found.batch.messages

    async def close(self) -> None:
        """Drop what is there, and take nothing any more: what still arrives is dropped by workers."""
        key, token, _ = self._hand
        if not token:
            return
        try:
            while await self.read(0):
                continue
        finally:
            await self._storage.unclaim(key, token)
            self._hand = Hand(key, 0, EMPTY)
