"""All messages of a storage that moves, in chunks that its target takes in one step, numbered throughout.

A source that moves does not change, so each run reads the same messages under the same numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import msgspec

from shardq.deadletters import DeadLetter
from shardq.encoding.replies import digest_of_kept
from shardq.errors import StorageDamaged
from shardq.model import KEPT_PIPE, Batch, Chunk, Limits, Place, TubeLeft, key_of
from shardq.pages import each
from shardq.protocols import Movable
from shardq.text.wording import counted

#: How many messages are read at first of a tube; then as many as have about so many bytes, and at most so many.
_FIRST, _READ_BYTES, _MOST = 16, 4 << 20, 4096
#: How many letters are read at once: each may have a long traceback.
_LETTERS = 16

#: Which room of the target messages of a tube share with others.
RoomOf = Callable[[str], Awaitable[int]]


async def chunks(source: Movable, target: Movable) -> AsyncIterator[Chunk]:
    """What the target has not stored yet. Tubes that are stored as a whole are not read."""
    limits, stored = target.storage.limits, target.stored
    number = 0
    async for tube in each(source.tubes):
        begin = Chunk(number, tube.place, tube.pipe, (), state=tube.state)
        if await stored(begin) < number + tube.length:
            async for chunk in _of_tube(source, tube, begin, limits):
                yield chunk
        number += tube.length
    async for waiting in each(source.waiting):
        begin = Chunk(number, Place.WAITING, waiting.pipe, (), due_us=waiting.due_us, schedule=waiting.schedule)
        for some in cut(waiting.messages, limits):
            yield begin._replace(number=number, messages=some)
            number += len(some)
    async for grave, letters, pipe in _letters(source):
        for some in cut(letters, limits):
            yield Chunk(number, Place.GRAVE, pipe, some, grave=grave)
            number += len(some)
    yield Chunk(number, Place.TUBE, "", ())


async def message_bytes(source: Movable, room_of: RoomOf) -> Counter[int]:
    """How many bytes the messages have, by the room of the target that they share."""
    found = Counter[int]()
    async for tube in each(source.tubes):
        async for batch in _batches(source, tube):
            found[await room_of(tube.pipe)] += sum(map(len, batch.messages))
    async for waiting in each(source.waiting):
        found[await room_of(waiting.pipe)] += sum(map(len, waiting.messages))
    async for _, letters, pipe in _letters(source):
        found[await room_of(pipe)] += sum(map(len, letters))
    return found


def cut(messages: Sequence[bytes], limits: Limits) -> Iterator[Sequence[bytes]]:
    """The messages in runs that keep within the limits of a step. A larger message is a run by itself."""
    start, nbytes = 0, 0
    for place, message in enumerate(messages):
        if place > start and (place - start == limits.messages or nbytes + len(message) > limits.nbytes):
            yield messages[start:place]
            start, nbytes = place, 0
        nbytes += len(message)
    if messages:
        yield messages[start:]


async def _of_tube(source: Movable, tube: TubeLeft, begin: Chunk, limits: Limits) -> AsyncIterator[Chunk]:
    number = begin.number
    async for batch in _batches(source, tube):
        for some in cut(batch.messages, limits):
            state = begin.state if number == begin.number else None
            yield begin._replace(number=number, messages=some, state=state)
            number += len(some)
    if number != begin.number + tube.length:
        raise StorageDamaged(
            f"{tube.pipe} has {counted(number - begin.number, 'message')}, and said {tube.length}: it changed while it "
            f"moved"
        )


async def _batches(source: Movable, tube: TubeLeft) -> AsyncIterator[Batch]:
    after, limit = None, _FIRST
    while (batch := await source.read(tube, limit, after)).count:
        yield batch
        after, nbytes = batch.through - 1, len(batch.payload)
        limit = max(1, min(_MOST, _READ_BYTES * batch.count // max(1, nbytes)))


async def _letters(source: Movable) -> AsyncIterator[tuple[str, list[bytes], str]]:
    """A grave, or results that are kept; letters of it; and the tube of their requests, the same for all of them."""
    for grave in [*sorted({grave async for grave in each(source.storage.graves)}), KEPT_PIPE]:
        after = None
        while (batch := await source.storage.range(grave, _LETTERS, after)).count:
            together = list[bytes]()
            pipe = ""
            for letter in batch.messages:
                its = _spread(letter) if grave == KEPT_PIPE else _pipe_of(letter) or grave
                if together and its != pipe:
                    yield grave, together, pipe
                    together = []
                together.append(letter)
                pipe = its
            yield grave, together, pipe
            after = batch.through - 1


def _spread(result: bytes) -> str:
    """A name in the place of that of the tube, which no process knows any more: a target that is divided has results in
    all of its parts.
    """
    return f"{key_of(KEPT_PIPE)}-{digest_of_kept(result)[0]}/0"


def _pipe_of(letter: bytes) -> str:
    try:
        return _decode(letter).pipe
    except msgspec.MsgspecError:
        return ""


_decode = msgspec.msgpack.Decoder(DeadLetter).decode
