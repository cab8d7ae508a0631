"""What `python -m shardq dead ...` and `park` do."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from shardq.cli.opened import first, opened, run
from shardq.cli.render import age, as_json, columns, readable, report, went
from shardq.deadletters import Buried, DeadLetters
from shardq.errors import ConfigurationError, QueueFull, shown
from shardq.model import Hand, Terms, dead_pipe, key_of, priority_of, split_key
from shardq.text.printable import printable
from shardq.text.wording import counted
from shardq.working.failure import parked


def list_(options: argparse.Namespace) -> None:
    """Print dead letters."""
    chosen, found, evicted = run(_found(options))
    if options.json:
        print(as_json([_as_values(buried) for buried in chosen]))
        return
    none = f"no dead letters of {options.handler}" if options.handler else "no dead letters"
    now = time.time()
    rows = [
        (
            b.id,
            b.letter.reason,
            str(b.letter.attempts),
            age(now - b.letter.last_failed_us / 1e6),
            _short(b.letter.error),
        )
        for b in chosen
    ]
    print(columns(("id", "reason", "attempts", "ago", "error"), rows, found, none), end="")
    if evicted:
        print(f"{went(evicted)} (of all handlers)")


def show(options: argparse.Namespace) -> None:
    """Print one dead letter as a whole."""
    if "#" not in options.id:
        raise ConfigurationError(f"{shown(options.id)} is no id of one dead letter: `dead list` shows the ids")
    [buried] = run(_chosen(options, [options.id]))
    values = _as_values(buried)
    if options.json:
        print(as_json(values))
        return
    for name, value in values.items():
        if name != "traceback" and value is not None:
            print(f"{name + ':':<14}{as_json(value) if name == 'request' else printable(str(value))}")
    if buried.letter.traceback:
        trace = printable(buried.letter.traceback, keep="\n\t")
        print(f"\n{trace}", end="")


def requeue(options: argparse.Namespace) -> None:
    """Put requests back."""

    async def put_back() -> int:
        with opened(options.url) as storage:
            letters = DeadLetters(storage)
            chosen = await _of(letters, options)
            return sum([await letters.requeue(buried, ahead=options.head) for buried in chosen])

    count = run(put_back())
    report(options, f"{count:,} requeued", requeued=count)


def drop(options: argparse.Namespace) -> None:
    """Forget letters."""

    async def forget() -> int:
        with opened(options.url) as storage:
            letters = DeadLetters(storage)
            return await letters.drop(*await _of(letters, options))

    count = run(forget())
    report(options, f"{count:,} dropped", dropped=count)


def park(options: argparse.Namespace) -> None:
    """Make dead letters of what is in a tube."""
    count = run(_park(options.url, options.pipe))
    report(options, f"{count:,} parked", parked=count)


async def _park(url: str, pipe: str) -> int:
    key, done = key_of(pipe), 0
    grave = dead_pipe(split_key(key)[0])
    if pipe == grave:
        raise ConfigurationError(f"{pipe} holds dead letters already: `dead list` shows them")
    with opened(url) as storage:
        if not await storage.length(pipe):
            raise ConfigurationError(f"{pipe} has nothing in it: `tubes` shows the tubes that have")
        token = await storage.claim(key)
        if not token:
            raise ConfigurationError(f"a worker serves {pipe} now: `park` takes only a tube that no worker serves")
        try:
            terms = Terms((priority_of(pipe),), 1)
            while (batch := await storage.take(key, token, terms)).count:
                hand = Hand(key, token, batch)
                if not await storage.bury(hand, batch.sequence, grave, parked(batch).encoded()):
                    parked_so_far = counted(done, "request of", "requests of")
                    raise QueueFull(f"no room for more dead letters: {parked_so_far} {pipe} became some")
                done += 1
        finally:
            await storage.unclaim(key, token)
    return done


async def _found(options: argparse.Namespace) -> tuple[Sequence[Buried], int, int]:
    """The first letters, how many there are, and how many older ones were removed to make room for later ones."""
    with opened(options.url) as storage:
        chosen = await first(DeadLetters(storage).each(options.handler), options.limit)
        backlog = await storage.backlog()
        found = await storage.length(dead_pipe(options.handler)) if options.handler else backlog.dead
        return chosen, found, backlog.evicted


async def _chosen(options: argparse.Namespace, ids: Sequence[str]) -> Sequence[Buried]:
    with opened(options.url) as storage:
        return await _by_ids(DeadLetters(storage), ids)


async def _of(letters: DeadLetters, options: argparse.Namespace) -> Sequence[Buried]:
    if options.all == bool(options.ids):
        raise ConfigurationError("which dead letters? give their ids, a handler as MODULE/Handler, or --all")
    return await letters.list() if options.all else await _by_ids(letters, options.ids)


async def _by_ids(letters: DeadLetters, ids: Sequence[str]) -> Sequence[Buried]:
    chosen: list[Buried] = []
    graves: dict[str, Sequence[Buried]] = {}
    for wanted in ids:
        handler, _, number = wanted.partition("#")
        if handler not in graves:
            graves[handler] = await letters.list(handler)
        found = [b for b in graves[handler] if not number or str(b.number) == number]
        if not found:
            raise ConfigurationError(f"there is no dead letter {wanted}: `dead list` shows what there is")
        chosen += found
    return chosen


def _as_values(buried: Buried) -> dict[str, Any]:
    letter = buried.letter
    return {
        "id": buried.id,
        "request": readable(letter.message),
        "tube": letter.pipe,
        "sequence": letter.sequence,
        "reason": letter.reason,
        "error": letter.error,
        "signal": letter.signal,
        "attempts": letter.attempts,
        "first_failed": _time(letter.first_failed_us),
        "last_failed": _time(letter.last_failed_us),
        "traceback": letter.traceback,
    }


def _time(unix_us: int) -> str:
    return datetime.fromtimestamp(unix_us / 1e6, UTC).isoformat(timespec="milliseconds")


def _short(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= 80 else f"{line[:77]}..."
