"""Accounts in files, and the handler that posts to them: what the web application and the notebook have in common.

The entries of one account must be posted in order and by one process at a time, so the account is the key of an entry.
A batch can come twice, so an entry has an identifier, and one that stands in the file already is not posted again.
"""

from __future__ import annotations

import os
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from shardq import Handler

#: Environment variable with the folder of the accounts; worker processes inherit it.
FOLDER_VARIABLE = "LEDGER_FOLDER"


class Entry(NamedTuple):
    """An amount that goes to an account, or comes from it."""

    account: int
    identifier: str
    amount: int


class Post(Handler[Entry]):
    """Posts entries to their accounts. There may be millions of them, so they are spread over fewer threads."""

    route_by = "account"
    threads = 1024

    def perform(self, *entries: Entry) -> None:
        for account, its_entries in groupby(sorted(entries, key=attrgetter("account")), attrgetter("account")):
            _file(account).touch()
            # A worker that was killed may have left a part of a line.
            os.truncate(_file(account), len(_whole_lines(account).encode()))
            known = dict(posted(account))
            new = {entry.identifier: entry.amount for entry in its_entries if entry.identifier not in known}
            with _file(account).open("a", encoding="utf-8") as file:
                file.writelines(_line(identifier, amount) for identifier, amount in new.items())


def posted(account: int) -> list[tuple[str, int]]:
    """Identifiers and amounts of an account's entries, in the order in which they were registered."""
    if not _file(account).exists():
        return []
    return [_parsed(line) for line in _whole_lines(account).splitlines()]


def balance(account: int) -> int:
    """The sum of an account's entries."""
    return sum(amount for _, amount in posted(account))


def _line(identifier: str, amount: int) -> str:
    """An entry as it is written: identifiers are a client's, and may have spaces and line ends in them, or nothing."""
    return f"{quote(identifier, safe='')} {amount}\n"


def _parsed(line: str) -> tuple[str, int]:
    identifier, amount = line.split(" ")
    return unquote(identifier), int(amount)


def _whole_lines(account: int) -> str:
    """What stands in the file, without a last line that is not written to its end, or not yet."""
    text = _file(account).read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1]


def _file(account: int) -> Path:
    return Path(os.environ[FOLDER_VARIABLE], f"{account}.txt")
