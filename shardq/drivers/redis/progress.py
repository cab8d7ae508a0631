"""How far batches have come, as their handlers say: a worker tells its supervisor through their pipe, and that says it
with what its family says of itself. Both do so twice a second at most, and the last word is always told.

A record names its batch, by its thread and the number of its first request: so it says nothing of the next one.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec

from shardq.drivers.redis.news import PROGRESS, WORK, News
from shardq.model import Batch, cut_note, key_of

#: Seconds between two words of one process.
EVERY_S = 0.5
#: Most bytes of a note.
_NOTE_BYTES = 64


class Teller:
    """What a worker tells. Handlers may call `note` in any thread, often, and while the event loop does not run."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._said: tuple[Batch, float, float | None, str] | None = None
        """The last word, until it is told."""
        self._waits = False
        """Whether a thread is to tell it."""
        self._again_at = 0.0

    def note(self, batch: Batch, done: float, total: float | None, note: str) -> None:
        self._said = batch, done, total, note
        if self._waits:
            return
        left_s = self._again_at - time.monotonic()
        if left_s <= 0:
            self._tell()
            return
        self._waits = True
        later = threading.Timer(left_s, self._tell)
        later.daemon = True
        later.start()

    def _tell(self) -> None:
        self._again_at, self._waits = time.monotonic() + EVERY_S, False
        said, self._said = self._said, None
        if said:
            batch, done, total, note = said
            text = cut_note(note, _NOTE_BYTES).decode()
            record = key_of(batch.pipe), batch.sequence, done, total, text
            self._news.tell(PROGRESS, msgspec.msgpack.encode(record).hex())


class WorkTeller:
    """Tells the supervisor now and then that this worker takes batches."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._again_at = 0.0

    def note(self) -> None:
        """A batch was handed out."""
        now = time.monotonic()
        if now >= self._again_at:
            self._again_at = now + EVERY_S
            self._news.tell(WORK)


class Told:
    """What the workers of a supervisor told it."""

    def __init__(self) -> None:
        self._records: dict[int, list[Any]] = {}
        """By pid."""
        self._again_at = float("-inf")
        self._is_new = False

    def note(self, pid: int, word: str) -> None:
        self._records[pid], self._is_new = msgspec.msgpack.decode(bytes.fromhex(word)), True

    def forget(self, pid: int) -> None:
        """The worker ended."""
        self._records.pop(pid, None)

    def left_s(self, now: float) -> float | None:
        """After how many seconds the server is to be told. None: it knows all of it."""
        return max(0.0, self._again_at - now) if self._is_new else None

    def said(self, now: float) -> list[list[Any]]:
        """What the server is told now: of each worker its pid, and its record."""
        self._is_new, self._again_at = False, now + EVERY_S
        return [[pid, *record] for pid, record in self._records.items()]
