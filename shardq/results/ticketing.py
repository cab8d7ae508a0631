"""The part of `Queue` for results that another process, or a later program, asks for."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, TypeVar

from shardq.behind import behind
from shardq.encoding.codec import decode_array
from shardq.encoding.envelope import inbox_of, ticketed
from shardq.encoding.replies import NOTICE, Kept, decode_reply
from shardq.errors import FencedError, HandlerError, ResultTimeout, ShardqError, TicketUnknown
from shardq.handler import Handler, check_is_handler, drive, find_handler
from shardq.handling.awaiting import loop_runs
from shardq.handling.info import info_of
from shardq.handling.inside import inside_handler
from shardq.handling.isolation import for_plain_caller
from shardq.model import handler_name, inbox_pipe
from shardq.results.asking import Asking
from shardq.results.inbox import OpenInbox
from shardq.results.outcome import error_of, values_of
from shardq.results.serving import LOOK_S
from shardq.results.tickets import KeptResults, Ticket
from shardq.settings import check_timeout

Value = TypeVar("Value")


class Ticketing(Asking):
    """Stores requests whose results are kept, and finds these."""

    def __init__(self) -> None:
        super().__init__()
        self.kept_results = KeptResults(self.storage)

    async def submit(self, handler: type[Handler[Any, Any]], request: Any) -> Ticket:
        """Store a request, and return the ticket with which `result` has the result of its handler: in any process, as
        soon as there is one, and as often as it is asked for. It is stored in the step that acknowledges the request,
        and kept for `StorageSettings.results_age_s`, unless more than `StorageSettings.results` came after it, or they
        needed its room. A failure is a result, too, and then there is no dead letter.

        Raises what `register` raises.
        """
        ticket = Ticket.new()
        digest = ticket.digest
        await self.stored(await self.with_heads(handler, (request,), lambda messages: ticketed(messages, digest)))
        return ticket

    def submit_sync(self, handler: type[Handler[Any, Any]], request: Any) -> Ticket:
        """`submit` for code without an event loop, and for plain handlers, where it never waits for room."""
        submitted = self.submit(handler, request)
        if loop_runs() or inside_handler():
            ticket: Ticket = drive(submitted)
            return ticket
        return asyncio.run(for_plain_caller(submitted))

    async def result(
        self, ticket: str, handler: type[Handler[Any, Value]] | None = None, *, timeout_s: float | None = None
    ) -> Value:
        """The result of the request that the ticket is of, as soon as there is one. It stays, for `forget` or its age
        to end it: so a process that dies with it has lost nothing.

        `handler` says of which type it is; without one, that is the handler of this name which this process has
        imported; without that, it is plain values. `timeout_s`: how long to wait. 0: not at all.

        Raises `RequestFailed` where the request failed for good, or what `Handler.errors` names; `ResultTooLarge`;
        `TicketUnknown` for what is no ticket, for one of another handler, and where nothing is kept for it and no
        request is left that could be its own; `ResultTimeout`; and `HandlerError` inside a handler, which would wait
        for a worker while it keeps one.
        """
        check_timeout(timeout_s)
        if handler is not None:
            check_is_handler(handler)
        if inside_handler():
            raise HandlerError("a handler cannot wait for a result: it keeps the worker that others may wait for")
        kept = await self._kept(Ticket(ticket).digest, timeout_s)
        if handler is not None and handler_name(handler) != kept.handler:
            raise TicketUnknown(f"this ticket is of another handler than {handler_name(handler)}")
        value: Value = _value(handler or self.handlers.get(kept.handler) or find_handler(kept.handler), kept)
        return value

    def result_sync(
        self, ticket: str, handler: type[Handler[Any, Value]] | None = None, *, timeout_s: float | None = None
    ) -> Value:
        """`result` for code without an event loop. Raises `HandlerError` where one runs in this thread."""
        if loop_runs():
            raise HandlerError("result_sync cannot wait where an event loop runs: use `await queue.result(...)` there")
        return asyncio.run(self.result(ticket, handler, timeout_s=timeout_s))

    async def forget(self, ticket: str) -> bool:
        """Drop the result of a request. False: none is kept; one that is to come will be. Raises `StorageMoved` where
        none is kept because the storage moved.
        """
        forgotten = await self.kept_results.forget(Ticket(ticket).digest)
        if not forgotten:
            await self.storage.check_stays()  # a result that is elsewhere is to be forgotten there
        return forgotten

    def forget_sync(self, ticket: str) -> bool:
        """`forget` for code without an event loop, and for plain handlers."""
        forgotten: bool = drive(self.forget(ticket))
        return forgotten

    async def _kept(self, digest: bytes, timeout_s: float | None) -> Kept:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        inbox = OpenInbox(self.storage, inbox_of(digest))
        try:
            while True:
                await self.before_waiting(None if deadline is None else deadline - time.monotonic())
                may_come = (await self.storage.backlog()).queued
                if found := await self.kept_results.find(digest):
                    return found.kept
                if not may_come:
                    await self.storage.check_stays()
                    raise TicketUnknown(
                        "no result is kept for this ticket, and no request is left that could be its own: it is "
                        "forgotten or too old, later results took its place, or it was never one of this storage"
                    )
                left_s = LOOK_S if deadline is None else min(LOOK_S, deadline - time.monotonic())
                if left_s <= 0:
                    raise ResultTimeout(f"no result came for this ticket within {timeout_s} s, and one may still come")
                try:
                    await _told(inbox, left_s)
                except FencedError:  # its lease ran out; the result is kept all the same
                    inbox = OpenInbox(self.storage, inbox.number)
        finally:
            if inbox.is_open:
                await asyncio.shield(behind(self._leave(inbox)))

    async def _leave(self, inbox: OpenInbox) -> None:
        with suppress(ShardqError):  # the storage may be closed or moved, and ends the claim itself then
            await inbox.close()
            await self.storage.remove(inbox_pipe(inbox.number), NOTICE)  # it may have come in the last moment


async def _told(inbox: OpenInbox, timeout_s: float) -> None:
    """Wait until there may be something new: not at all where it was not listened to before."""
    if inbox.is_open:
        await inbox.read(timeout_s)
    elif not await inbox.open():
        await asyncio.sleep(timeout_s)  # another holder of the ticket is told


def _value(handler: type[Handler[Any]] | None, kept: Kept) -> Any:
    reply = decode_reply(kept.reply)
    if reply.failure:
        raise error_of(handler or Handler, reply.failure)
    if handler is None:
        return decode_array(Any, reply.results)[0]
    return values_of(info_of(handler), reply)[0]
