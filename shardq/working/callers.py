"""The requests of a batch whose callers wait for results: which are still wanted, and what is sent to the callers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from shardq.encoding.codec import MsgspecSerializer
from shardq.encoding.envelope import begins_with_head, has_heads, inbox_of, needs_caller, number_of, opened
from shardq.encoding.replies import encode_results, success
from shardq.errors import DecodeError, HandlerError, RequestError, ResultTooLarge, shown
from shardq.handling.info import HandlerInfo
from shardq.handling.request_types import concrete_types
from shardq.model import Batch, Limits
from shardq.outputs import Output
from shardq.protocols import Serializer, Storage
from shardq.results.inbox import key_of_inbox, pipe_of_inbox
from shardq.text.printable import type_name
from shardq.text.wording import counted

#: How many bytes a reply may have beside its results and numbers.
_REPLY_BYTES = 64


class Callers:
    """The callers of the batch in hand."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.heads: Sequence[bytes] = ()
        """What stands in front of each message, empty where no caller waits. Nothing: no caller waits for any."""

    def decoded(self, decode: Callable[[Batch], list[Any]], serializer: Serializer, batch: Batch) -> list[Any]:
        """The requests of a batch. Most have no callers: so they are looked for where the batch does not decode as it
        is. Serializers other than the usual one may decode what has a head. Raises `DecodeError`.
        """
        self.heads = ()
        usual = type(serializer) is MsgspecSerializer
        if usual and not begins_with_head(batch):
            try:
                return decode(batch)
            except DecodeError:
                if not has_heads(batch):
                    raise
        elif not usual and not has_heads(batch):
            return decode(batch)
        bare, heads = opened(batch)
        requests = decode(bare)
        self.heads = heads
        return requests

    async def wanted(self) -> tuple[int, int]:
        """How many requests at the head of the batch are of no use, because their callers are gone; else how many
        come before the first such one.
        """
        gone = set[int]()
        for inbox in {inbox_of(head) for head in self.heads if head and needs_caller(head)}:
            if not await self._storage.claimed(key_of_inbox(inbox)):
                gone.add(inbox)
        if not gone:
            return 0, len(self.heads)
        useless = [bool(head) and needs_caller(head) and inbox_of(head) in gone for head in self.heads]
        other = useless.index(not useless[0]) if (not useless[0]) in useless else len(useless)
        return (other, 0) if useless[0] else (0, other)

    def keep(self, count: int) -> None:
        """Of the batch in hand only the first requests are handled."""
        heads = self.heads[:count]
        self.heads = heads if any(heads) else ()

    def steps(
        self, info: HandlerInfo, limits: Limits, batch: Batch, returned: Any, worked_us: int, *, whole: bool
    ) -> list[tuple[int, list[Output]]]:
        """What is sent to the callers for what the handler returned, in steps: each acknowledges so many requests from
        the beginning of the batch. `whole`: one step, however large it is. Raises `HandlerError`, `RequestError`,
        `DecodeError` and `ResultTooLarge` for what cannot be sent.
        """
        results = _one_for_each(info, returned, batch.count)
        places = [place for place, head in enumerate(self.heads) if head]
        messages = _encoded(info, [results[place] for place in places])
        numbers = [number_of(self.heads[place]) for place in places]
        inboxes = [inbox_of(self.heads[place]) for place in places]
        _check_sizes(info, limits, messages)
        steps, edges = list[tuple[int, list[Output]]](), [0, len(places)]
        if not whole:
            edges = list(_edges(messages, limits, many=len(set(inboxes)) > limits.parts))
        for start, end in pairwise(edges):
            its = slice(start, end)
            by_inbox = defaultdict[int, list[int]](list)
            for place, inbox in enumerate(inboxes[its], start):
                by_inbox[inbox].append(place)
            outputs = [
                Output(
                    pipe_of_inbox(inbox),
                    [success([numbers[n] for n in its], [messages[n] for n in its], batch, worked_us)],
                )
                for inbox, its in by_inbox.items()
            ]
            steps.append((batch.count if end == len(places) else places[end], outputs))
        return steps


def _one_for_each(info: HandlerInfo, returned: Any, count: int) -> Sequence[Any]:
    """The results among what the handler returned. Raises `HandlerError`."""
    if returned is None and info.result in (None, type(None)):
        return [None] * count
    if info.one_by_one:
        return [returned]
    if not isinstance(returned, list | tuple) or len(returned) != count:
        what = counted(len(returned), "result") if isinstance(returned, list | tuple) else shown(returned)
        raise HandlerError(
            f"{info.name} returned {what} for {counted(count, 'request')}: where callers wait, a list with one result "
            f"for each is needed"
        )
    return returned


def _encoded(info: HandlerInfo, results: Sequence[Any]) -> list[bytes]:
    kind = Any if info.result is None else info.result
    types = concrete_types(kind)
    if types is not None and not types.issuperset(map(type, results)):
        wrong = next(result for result in results if type(result) not in types)
        raise HandlerError(
            f"{info.name} returned {shown(wrong)} of type {type_name(type(wrong))}, and its results are of type "
            f"{getattr(kind, '__qualname__', kind)}"
        )
    try:
        return encode_results(kind, results)
    except (RequestError, DecodeError, HandlerError) as error:
        raise HandlerError(f"{info.name} returned what cannot be sent to its caller: {error}") from error


def _check_sizes(info: HandlerInfo, limits: Limits, messages: Sequence[bytes]) -> None:
    largest = max(map(len, messages))
    if largest + _REPLY_BYTES > limits.message_bytes:
        raise ResultTooLarge(
            f"{info.name} returned a result of {largest:,} bytes, and the storage takes at most "
            f"{limits.message_bytes:,}: return something smaller, as the name of a file, or give the storage more "
            f"capacity"
        )


def _edges(messages: Sequence[bytes], limits: Limits, *, many: bool) -> Iterator[int]:
    """Where steps begin and end that the storage takes. `many`: there may be more inboxes than a step has tubes."""
    most = limits.parts if many else len(messages)
    room = limits.nbytes - (limits.part_bytes + _REPLY_BYTES) * (limits.parts if many else min(limits.parts, most))
    start = nbytes = 0
    yield 0
    for place, message in enumerate(messages):
        size = len(message) + 8
        if place > start and (nbytes + size > room or place - start == most):
            yield place
            start, nbytes = place, 0
        nbytes += size
    yield len(messages)
