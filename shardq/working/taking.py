"""Batches that a worker takes of its thread by itself: no turn of the storage hands them out."""

from __future__ import annotations

import logging
from contextvars import Context
from typing import TYPE_CHECKING, Any

from shardq.handler import Handler
from shardq.handling.info import info_of
from shardq.model import Batch, Hand, Terms
from shardq.text.portrait import portrait
from shardq.working.code import Code
from shardq.working.priorities import Priorities

if TYPE_CHECKING:
    from shardq.working.worker import Worker

log = logging.getLogger("shardq.worker")


class Taking:
    """The batches of one stay that are taken. `context`: in which the handler says how large they are."""

    def __init__(
        self, worker: Worker, hand: Hand, handler_class: type[Handler[Any]], code: Code, context: Context
    ) -> None:
        self._worker = worker
        self._storage = worker.queue.storage
        self._key, self._token, _ = hand
        self._code = code
        self._class, self._info = handler_class, info_of(handler_class)
        self._context = context
        self._priorities = Priorities(self._key, self._info.priorities)
        self._terms: Terms | None = None
        """The terms of the batch before."""

    async def take(self, handler: Handler[Any], size: int | None, room: float) -> Batch | None:
        """What the thread has now: at most `size` messages, or as many as the handler says, and no more than there is
        `room` for. None where the handler gives a batch size that cannot be.
        """
        size = size or self._batch_size(handler)
        if not size:
            return None
        most, terms = int(min(size, room)), self._terms
        if terms is None or terms.limit != most or terms.priorities != self._priorities.served:
            timeout_s, starvation_limit = self._class.timeout_s, self._class.starvation_limit
            terms = self._terms = Terms(self._priorities.served, most, timeout_s, starvation_limit)
        return await self._storage.take(self._key, self._token, terms)

    @property
    def serves_unlisted(self) -> bool:
        """Whether there were requests of priorities that the handler does not list."""
        return self._priorities.served != self._info.priorities

    async def find_unlisted(self) -> None:
        """Serve priorities as well that have requests and that the handler does not list."""
        await self._priorities.find_unlisted(self._storage)

    def _batch_size(self, handler: Handler[Any]) -> int:
        """Most requests in a batch, 0 where what the handler says of it cannot be used."""
        try:
            otherwise = self._worker.settings.batch_size
            return int(self._code.contained(self._context, self._info.batch_size, handler, otherwise))
        except (Exception, SystemExit) as error:
            shown = portrait(error, self._worker.hooks.alarm)
            log.error("handler cannot be used", extra={"key": self._key}, exc_info=shown)
            return 0
