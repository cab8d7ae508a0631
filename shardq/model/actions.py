"""What operators did to a storage, as far as the storage remembers it."""

from __future__ import annotations

from dataclasses import dataclass

#: A storage remembers so many actions: the last ones.
MOST_ACTIONS = 256
#: Most bytes of an action as a storage keeps it, without its number and its time.
LONGEST_ACTION_BYTES = 488


@dataclass(frozen=True, slots=True)
class Action:
    """Something that an operator had done to a storage."""

    what: str
    """The verb, in a word or a few: `pause`, `dead requeue`."""
    target: str = ""
    """What it was done to: a handler, a tube, ids, a filter. Empty: to the storage as a whole."""
    count: int = 1
    """To how many things it was done."""
    reason: str = ""
    """As the operator said it. Empty: nothing was said."""
    user: str = ""
    """Name of the operator, as the system or a proxy in front of the page knows it."""
    uid: int = 0
    """User id of the process that did it."""
    pid: int = 0
    """That process."""
    host: str = ""
    """Name of its host."""
    by: str = ""
    """How it was asked for: `command`, `page`, or `API`."""
    number: int = 0
    """Counts the actions of the storage, from 1. 0: it is not recorded yet, and so is the next."""
    at_us: int = 0
    """When it was recorded, Unix microseconds, by the clock of the storage."""
