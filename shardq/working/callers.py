"""The requests of a batch whose results are wanted: which still are, what callers get, and what is kept for tickets."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from typing import Any

from shardq.encoding.codec import MsgspecSerializer
from shardq.encoding.envelope import FRONTS, NO_HEADS, has_heads, inbox_of, opened
from shardq.encoding.replies import NOTICE, digest_of_kept, encode_results, kept_result, success
from shardq.errors import DecodeError, HandlerError, RequestError, ResultTooLarge, ShardqError, shown
from shardq.handling.info import HandlerInfo
from shardq.handling.request_types import concrete_types
from shardq.model import KEPT_PIPE, Batch, Limits, inbox_key, inbox_pipe
from shardq.outputs import Output
from shardq.protocols import Serializer, Storage
from shardq.text.printable import type_name
from shardq.text.wording import counted

#: How many bytes a reply may have beside its results and numbers.
_REPLY_BYTES = 64
#: It is asked for each batch.
_types_of = lru_cache(maxsize=1024)(concrete_types)


class Callers:
    """The callers of the batch in hand."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._heads = NO_HEADS
        self.has_heads = False
        """Whether there is anything in front of a request of the batch: a head, or a trace context."""
        self.wait = False
        """Whether any result of the batch is wanted."""

    def decoded(self, decode: Callable[[Batch], list[Any]], serializer: Serializer, batch: Batch) -> list[Any]:
        """The requests of a batch. Most have no callers: so they are looked for where the batch does not decode as it
        is. Serializers other than the usual one may decode what has a head. Raises `DecodeError`.
        """
        if self.has_heads:
            self._heads, self.has_heads, self.wait = NO_HEADS, False, False
        if type(serializer) is not MsgspecSerializer:
            if not has_heads(batch):
                return decode(batch)
        elif not batch.payload.startswith(FRONTS):
            try:
                return decode(batch)
            except DecodeError:
                if not has_heads(batch):
                    raise
        bare, heads = opened(batch)
        requests = decode(bare)
        self._heads, self.has_heads, self.wait = heads, True, bool(heads.places)
        return requests

    async def wanted(self, count: int) -> tuple[int, int]:
        """Of so many requests: how many at the head are of no use, because their callers are gone; else how many come
        before the first such one.
        """
        gone = await self._gone(self._heads.callers)
        useless = self._heads.needs(gone) if gone else ()
        if not useless:
            return 0, count
        if useless[0]:
            return 0, useless[0]
        together = next((n for n, place in enumerate(useless) if n != place), len(useless))
        return together, 0

    async def _gone(self, inboxes: Collection[int]) -> frozenset[int]:
        """Those of these inboxes that no caller has."""
        return frozenset(inboxes) - frozenset(await _claimed(self._storage, inboxes))

    def keep(self, count: int) -> None:
        """Of the batch in hand only the first requests are handled."""
        self._heads = self._heads.first(count)
        self.wait = bool(self._heads.places)

    def steps(
        self, info: HandlerInfo, limits: Limits, batch: Batch, returned: Any, worked_us: int, *, whole: bool
    ) -> list[tuple[int, list[Output]]]:
        """What is sent to the callers for what the handler returned, in steps: each acknowledges so many requests from
        the beginning of the batch. `whole`: one step, however large it is. Raises `HandlerError` and `ResultTooLarge`
        for what cannot be sent.
        """
        results = _one_for_each(info, returned, batch.count)
        places, inboxes, numbers, _ = self._heads
        messages = _encoded(info, results if len(places) == batch.count else [results[place] for place in places])
        digests = self._heads.digests
        for n, digest in digests.items():
            reply = success((0,), messages[n : n + 1], batch, worked_us)
            messages[n] = kept_result(digest, info.name, batch.taken_us + worked_us, reply)
        _check_sizes(info, limits, messages)
        alone = not digests and len(set(inboxes)) == 1
        edges = [0, len(places)] if whole else list(_edges(messages, limits, alone=alone))
        steps = list[tuple[int, list[Output]]]()
        for start, end in pairwise(edges):
            its = range(start, end)
            by_inbox = {inboxes[0]: its} if alone else _grouped(inboxes, [n for n in its if n not in digests])
            outputs = [
                Output(inbox_pipe(inbox), [_reply(numbers, messages, each, batch, worked_us)])
                for inbox, each in by_inbox.items()
            ]
            if kept := [messages[n] for n in its if n in digests]:
                outputs.append(Output(KEPT_PIPE, kept))
            steps.append((batch.count if end == len(places) else places[end], outputs))
        return steps


async def tell_holders(storage: Storage, outputs: Sequence[Output]) -> None:
    """Wake those who wait for results that were kept by now. Who begins to wait later looks for them itself."""
    results = [result for output in outputs if output.pipe == KEPT_PIPE for result in output.messages]
    if not results:
        return
    most = storage.limits.parts
    with suppress(ShardqError):  # it is only a matter of a second: then they look
        waiting = await _claimed(storage, {inbox_of(digest_of_kept(result)) for result in results})
        for start in range(0, len(waiting), most):
            parts = [(inbox_pipe(inbox), (NOTICE,)) for inbox in waiting[start : start + most]]
            await storage.append(parts, follow_up=True)
        # Of callers that have left meanwhile nothing may stay: it would look like a request whose result may come.
        for inbox in set(waiting).difference(await _claimed(storage, waiting)):
            await storage.remove(inbox_pipe(inbox), NOTICE)


async def _claimed(storage: Storage, inboxes: Collection[int]) -> list[int]:
    """Those of these inboxes whose callers still read them."""
    keys = map(inbox_key, inboxes)
    if storage.suspends:
        claimed = await asyncio.gather(*map(storage.claimed, keys))
    else:
        claimed = [await storage.claimed(key) for key in keys]
    return [inbox for inbox, stands in zip(inboxes, claimed, strict=True) if stands]


def _reply(
    numbers: Sequence[int], messages: Sequence[bytes], its: Sequence[int], batch: Batch, worked_us: int
) -> bytes:
    """The reply of one inbox. Of the work on the batch it has an equal share for each of its requests."""
    worked_us = worked_us * len(its) // batch.count
    if isinstance(its, range):
        return success(numbers[its.start : its.stop], messages[its.start : its.stop], batch, worked_us)
    return success([numbers[n] for n in its], [messages[n] for n in its], batch, worked_us)


def _grouped(inboxes: Sequence[int], chosen: Sequence[int]) -> Mapping[int, Sequence[int]]:
    groups = defaultdict[int, list[int]](list)
    for n in chosen:
        groups[inboxes[n]].append(n)
    return groups


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
    types = _types_of(kind)
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


def _edges(messages: Sequence[bytes], limits: Limits, *, alone: bool) -> Iterator[int]:
    """Where steps begin and end that the storage takes. `alone`: all is for one inbox."""
    # Where not all is for one inbox, each result may need a tube, and all that are kept one more.
    most = len(messages) if alone else min(len(messages), limits.parts - 1)
    room = limits.nbytes - (limits.part_bytes + _REPLY_BYTES) * (1 if alone else most + 1)
    yield 0
    if len(messages) > most or sum(map(len, messages)) + 8 * len(messages) > room:
        start = nbytes = 0
        for place, message in enumerate(messages):
            size = len(message) + 8
            if place > start and (nbytes + size > room or place - start == most):
                yield place
                start, nbytes = place, 0
            nbytes += size
    yield len(messages)
