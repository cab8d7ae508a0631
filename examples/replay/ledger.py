"""Events, and a database of accounts that takes each of them once. Knows nothing of queues or pools."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

#: Environment variable with the file of the database; worker processes inherit it.
DATABASE_VARIABLE = "REPLAY_DATABASE"
#: How long a process waits while another one writes.
_WAIT_S = 60.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    account INTEGER NOT NULL, number INTEGER NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (account, number)
);
CREATE TABLE IF NOT EXISTS balances (account INTEGER PRIMARY KEY, amount INTEGER NOT NULL);
"""
_ADD = """
INSERT INTO balances VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount
"""


class Event(NamedTuple):
    """An amount that goes to an account, or comes from it."""

    account: int
    number: int
    """Its number among the events of the account."""
    amount: int


decoded = msgspec.json.Decoder(Event).decode
encoded = msgspec.json.Encoder().encode


def opened() -> sqlite3.Connection:
    """A connection to the database, which is made where there is none yet."""
    # One thread uses a connection at a time, and not always the same one.
    connection = sqlite3.connect(os.environ[DATABASE_VARIABLE], timeout=_WAIT_S, check_same_thread=False)
    connection.executescript(_SCHEMA)
    return connection


def post(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Post events to their accounts, in one transaction. Those that were posted before change nothing."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for event in events:
            if connection.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", event).rowcount:
                connection.execute(_ADD, (event.account, event.amount))


def sums(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many events were posted, and the sum of all balances."""
    [events] = connection.execute("SELECT count(*) FROM events").fetchone()
    [amount] = connection.execute("SELECT coalesce(sum(amount), 0) FROM balances").fetchone()
    return events, amount
