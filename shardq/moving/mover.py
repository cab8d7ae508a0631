"""One move, from its beginning or from where it was cut off.

    arrive ─▶ leave ─▶ nothing in hand ─▶ [store, store, ...] ─▶ hand_over ─▶ open ─▶ forget
    ──────────── the source owns all messages ────────────────────────┘└──── the target does ────

Each step may be done again, and each chunk is stored together with the note that it is there. So a process that is
killed anywhere leaves a move that the same command goes on with.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import NamedTuple

from shardq.errors import MoveRefused, QueueFull
from shardq.model import Chunk, Place, Standing, When
from shardq.moving import chunks
from shardq.protocols import Movable
from shardq.text.wording import counted

#: Numbers of moves are below this one: exact also where a number is a double.
_MOVES = 1 << 48
#: How soon to look again whether workers have something in hand, at first and in the end.
_FIRST_LOOK_S, _LAST_LOOK_S = 0.01, 0.5


class Ends(NamedTuple):
    """Where a move begins and where it goes, with their URLs as they may be shown."""

    source: Movable
    target: Movable
    come_from: str
    go_to: str


class Moved(NamedTuple):
    """What a run of a move did."""

    messages: int
    """How many messages moved, letters included; those of earlier runs count."""
    before: bool
    """Whether all was done before."""


async def move(ends: Ends, timeout_s: float, heard: Callable[[str], None] = lambda said: None) -> Moved:
    """Move all that the source holds. `timeout_s`: how long to wait for what workers have in hand. `heard` is told of
    what takes long. Raises `MoveRefused`, `QueueFull` where the target has no room, and what the storages raise.
    """
    source = ends.source
    stand = await source.stand()
    if stand.standing is Standing.ARRIVING:
        raise MoveRefused(
            f"{ends.come_from} waits for content of another storage itself: finish that move, or cancel it"
        )
    if stand.standing is not Standing.OPEN and stand.to != ends.go_to:
        raise MoveRefused(
            f"{ends.come_from} moves to {stand.to}: `python -m shardq move` it there, or cancel that move"
        )
    if stand.standing is Standing.LEFT:
        return await _finished(ends, stand.leaving_by)
    begins = stand.standing is Standing.OPEN
    number = secrets.randbelow(_MOVES - 1) + 1 if begins else stand.leaving_by
    await _close(ends, number)
    try:
        await source.leave(number, ends.go_to)
        await _until_nothing_is_in_hand(ends, timeout_s, heard)
        if begins:
            await _check_room(ends)
    except (Exception, asyncio.CancelledError):  # a source of another kind may raise anything
        if begins:
            await _undo(ends, number)
        raise
    await _check_as_it_was(ends, number)
    messages = await _copied(ends, number)
    await _check_as_it_was(ends, number)
    await _check_target_has_it(ends, number)
    await source.hand_over(number)
    await _finished(ends, number)
    return Moved(messages, before=False)


async def cancel(ends: Ends) -> None:
    """Undo what a move did that is not finished: the source goes on as before. Raises `MoveRefused` where there is none
    to the target, or where the messages are the target's already.
    """
    stand, there = await ends.source.stand(), await ends.target.stand()
    leaves = stand.standing is not Standing.OPEN and stand.to == ends.go_to
    arrives = there.standing is Standing.ARRIVING and there.come_from == ends.come_from
    if not leaves and not arrives:
        raise MoveRefused(f"{ends.come_from} does not move to {ends.go_to}: there is nothing to cancel")
    if leaves and not await ends.source.stay(stand.leaving_by):
        # Without a number the target dropped what came, or was made anew.
        has_them = there.arriving_by == stand.leaving_by or (there.arriving_by and not arrives)
        if has_them or not await _left(ends.source):
            raise MoveRefused(f"{ends.go_to} has the messages already: `python -m shardq move` finishes the move")
        await ends.source.take_back(stand.leaving_by)
    if arrives:
        await _drop(ends, there.arriving_by)


async def _close(ends: Ends, number: int) -> None:
    """Have the target take nothing else. Before the source leaves: programs that are told to go to the target must not
    be there first. Raises `MoveRefused` where the target cannot be had.
    """
    there = await ends.target.stand()
    of_before = there.standing is Standing.ARRIVING and there.come_from == ends.come_from
    if of_before and there.arriving_by != number:
        await _drop(ends, there.arriving_by)
    await ends.target.arrive(number, ends.come_from)


async def _drop(ends: Ends, number: int) -> None:
    """Drop what came by another move, which was cut off before it began or was cancelled. Raises `MoveRefused` where it
    has begun since the source was looked at.
    """
    stand = await ends.source.stand()
    if stand.standing is not Standing.OPEN and stand.leaving_by == number:
        raise MoveRefused(
            f"another process moves {ends.come_from} to {ends.go_to} just now: wait for that one, or end it and give "
            f"the command again"
        )
    await ends.target.clear(number)


async def _undo(ends: Ends, number: int) -> None:
    """Have both ends go on as before, unless the messages are the target's by this move."""
    if await ends.source.stay(number) or (await ends.source.stand()).leaving_by != number:
        await ends.target.clear(number)


async def _finished(ends: Ends, number: int) -> Moved:
    """Do what is left to do once the messages are the target's."""
    left = await _left(ends.source)
    # Where nothing is left here the target was open before, and may have moved on since.
    with nullcontext() if left else suppress(MoveRefused):
        await ends.target.open(number)
    await ends.source.forget(number)
    return Moved(left, before=not left)


async def _left(source: Movable) -> int:
    """How many messages there are."""
    counts = await source.storage.backlog()
    return counts.queued + counts.deferred + counts.recurrent + counts.dead


async def _until_nothing_is_in_hand(ends: Ends, timeout_s: float, heard: Callable[[str], None]) -> None:
    deadline, pause_s, told = time.monotonic() + timeout_s, _FIRST_LOOK_S, False
    while keys := await ends.source.in_hand():
        if time.monotonic() >= deadline:
            raise MoveRefused(
                f"workers have {', '.join(keys[:3])} in hand, or requests are on their way there, for more than "
                f"{timeout_s:g} s: end the workers, or give more time with --timeout"
            )
        if not told and pause_s == _LAST_LOOK_S:
            heard(f"waiting for workers: {', '.join(keys[:3])}")
            told = True
        await asyncio.sleep(pause_s)
        pause_s = min(_LAST_LOOK_S, 2 * pause_s)


async def _check_room(ends: Ends) -> None:
    room, most = await ends.target.room_bytes(), await ends.source.message_bytes()
    if room is None or most <= room:
        return
    needed = max((await chunks.message_bytes(ends.source, ends.target.room_of)).values(), default=0)
    if needed > room:
        raise MoveRefused(
            f"{ends.come_from} has {needed:,} bytes of messages that need one room, and that of {ends.go_to} has "
            f"{room:,}: give it more capacity"
        )


async def _check_as_it_was(ends: Ends, number: int) -> None:
    """Cancel the move, and raise `MoveRefused`, where the source changed since the copy began: parts of it that are
    stored would belong to another content.
    """
    if await ends.source.is_as_it_was(number):
        return
    await _undo(ends, number)
    raise MoveRefused(
        f"{ends.come_from} changed while it moved: its server lost what it had confirmed, as where a replica took its "
        f"place. The move is cancelled, and {ends.come_from} goes on as before: give the command again"
    )


async def _check_target_has_it(ends: Ends, number: int) -> None:
    """Raise `MoveRefused` where the target dropped what came: the source is about to hand over the only other copy."""
    if (await ends.target.stand()).arriving_by != number:
        raise MoveRefused(
            f"{ends.go_to} dropped what it had of this move, for another process. {ends.come_from} has all messages: "
            f"give the same command again, or cancel the move with --cancel"
        )


async def _copied(ends: Ends, number: int) -> int:
    """Store all that is not stored yet. Returns how many messages move in all."""
    source, target = ends.source, ends.target
    last = Chunk(0, Place.TUBE, "", ())
    async for chunk in chunks.chunks(source, target):
        last = chunk
        await asyncio.sleep(0)  # or Ctrl-C would come after all of it, between two segments
        left = chunk.behind(await target.stored(chunk)) if chunk.messages else chunk
        while left.messages:
            await _store(ends, number, left)
            left = left.behind(await target.stored(left))
    for its in await source.storage.pauses():
        await target.storage.pause(its.handler, When(its.until_us) if its.until_us else None, its.reason)
    await target.settle(number, last.number, await source.figures())
    return last.number


async def _store(ends: Ends, number: int, chunk: Chunk) -> None:
    try:
        stored = await ends.target.store(number, chunk)
    except QueueFull as error:
        raise QueueFull(_without_room(ends, chunk, f": {error}")) from error
    if not stored:
        raise QueueFull(_without_room(ends, chunk, ""))


def _without_room(ends: Ends, chunk: Chunk, reason: str) -> str:
    return (
        f"{ends.go_to} has no room left after {counted(chunk.number, 'message')}{reason}. Nothing is lost: "
        f"{ends.come_from} has all messages, and waits for the rest of the move. Make room and give the same command "
        "again, or cancel the move with --cancel"
    )
