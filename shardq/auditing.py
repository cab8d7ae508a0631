"""Records what operators do to a storage. All actions of commands and of the page pass here:

    async with recorded(storage, Deed("pause", handler, reason, by="command")) as deed:
        await storage.pause(handler)
        deed.count = 1

What programs do with their own requests does not.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from shardq.matching import parts_of
from shardq.model import Action
from shardq.protocols import Auditable
from shardq.system.users import user_name
from shardq.text.secret_names import MASK

log = logging.getLogger("shardq.audit")

#: How an operator asks for something: by a command, with a browser, or by a program.
By = Literal["command", "page", "API"]
#: Filters whose values say nothing of what is in requests, so each viewer of actions may see them.
_OPEN = frozenset({"type", "frame", "older", "newer", "within", "beyond"})


@dataclass(slots=True)
class Deed:
    """Something that an operator does."""

    what: str
    """As the command is called that does it."""
    target: str = ""
    """What it is done to: a handler, a tube, ids, a filter. Empty: the storage as a whole."""
    reason: str = ""
    by: By = "API"
    user: str = ""
    """Who the operator is. Empty: the user that runs this process."""
    count: int = 0
    """To how many things it was done so far."""

    @property
    def action(self) -> Action:
        """What is recorded of it."""
        return Action(
            what=self.what,
            target=self.target,
            count=self.count,
            reason=self.reason,
            user=self.user or user_name(),
            uid=os.geteuid(),
            pid=os.getpid(),
            host=socket.gethostname(),
            by=self.by,
        )


def target_of(names: Iterable[str] = (), filters: Iterable[str] = ()) -> str:
    """What an action is about in words: ids or handlers, and filters without the values of fields that they look for.
    Where there is neither, it is about all that there is.
    """
    return ", ".join((*names, *map(_without_value, filters))) or "all"


def _without_value(text: str) -> str:
    name, mark, value = parts_of(text, "FIELD=VALUE or FIELD~TEXT")
    return f"{name}{mark}{value if name in _OPEN else MASK}"


@asynccontextmanager
async def recorded(storage: Auditable, deed: Deed) -> AsyncIterator[Deed]:
    """Record in the end what was done within, also where an error cut it off half-way, but not what hit nothing."""
    try:
        yield deed
    finally:
        if deed.count:
            await record(storage, deed)


async def record(storage: Auditable, deed: Deed) -> None:
    """Record what was done. Where that fails a warning says so, since it is done."""
    try:
        await storage.record(deed.action)
    except Exception as error:
        log.warning("%s was done, and could not be recorded: %s", deed.what, error)
