"""Events to try it with: `python -m examples.replay.samples EVENTS [COUNT] [ACCOUNTS]`."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from examples.replay.ledger import Event, encoded


def events(count: int = 200_000, accounts: int = 1000) -> Iterator[Event]:
    """Events of accounts that have their turns by chance, the same ones each time."""
    chance, numbers = random.Random(1), Counter[int]()
    for _ in range(count):
        account = chance.randrange(accounts)
        numbers[account] += 1
        yield Event(account, numbers[account], chance.randrange(-100, 100))


def make(path: Path, *sizes: int) -> None:
    """Write a stream of them, one a line."""
    with path.open("wb") as stream:
        stream.writelines(encoded(event) + b"\n" for event in events(*sizes))


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
