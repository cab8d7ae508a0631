"""The same with a `ProcessPoolExecutor`: `python -m examples.replay.pool EVENTS DATABASE`.

A pool knows no order, so the whole stream is read and sorted by account before the first event is posted. Where the
program was killed it begins anew, and the database finds out which events it has.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path

from examples.replay.ledger import DATABASE_VARIABLE, Event, decoded, opened, post, sums

#: How many events are posted in one transaction.
BATCH = 128


def post_all(events: list[Event]) -> None:
    connection = opened()
    for start in range(0, len(events), BATCH):
        post(connection, events[start : start + BATCH])
    connection.close()


def main(events: str, database: str) -> None:
    os.environ[DATABASE_VARIABLE] = os.path.abspath(database)
    accounts = defaultdict[int, list[Event]](list)
    with Path(events).open("rb") as stream:
        for event in map(decoded, stream):
            accounts[event.account].append(event)
    # An account is little work: so several of them make a task.
    tasks = [list(chain.from_iterable(list(accounts.values())[n::16])) for n in range(16)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(post_all, tasks))
    print("{:,} events, balances of {:,} in all".format(*sums(opened())))


if __name__ == "__main__":
    main(*sys.argv[1:])
