"""Handlers that workers leave alone for a while, because an operator says so."""

from __future__ import annotations

from dataclasses import dataclass

from shardq.errors import HandlerError, shown
from shardq.model.names import INBOX
from shardq.model.storing import When

#: Most bytes of the name of a handler that is paused, and of the reason for a pause, in UTF-8.
LONGEST_PAUSED_BYTES, LONGEST_REASON_BYTES = 256, 128
#: So many handlers can be paused at one time.
MOST_PAUSES = 31


@dataclass(frozen=True, slots=True)
class Pause:
    """A handler whose requests are not handed out."""

    handler: str
    """`module/Handler`."""
    since_us: int
    """Unix microseconds, here and below."""
    until_us: int | None = None
    """When it ends by itself. None: when it is resumed."""
    reason: str = ""
    """As the operator who paused it said. Empty: nothing was said."""


def check_pause(handler: str, until: When | None, reason: str) -> None:
    """Raise `HandlerError` for what is no pause: the name of no handler, that of callers' inboxes, a time that comes
    again, a reason that is too long or no text.
    """
    module, _, name = handler.rpartition("/")
    if not (module and name) or _size(handler) > LONGEST_PAUSED_BYTES:
        raise HandlerError(f"{shown(handler)} is no handler: name it as module/Handler")
    if handler == INBOX:
        raise HandlerError("results for callers cannot be paused: pause the handlers that they wait for")
    if until and until.schedule:
        raise HandlerError("a pause has one end: give an instant or a span, and no schedule")
    if _size(reason) > LONGEST_REASON_BYTES:
        raise HandlerError(f"the reason for a pause has at most {LONGEST_REASON_BYTES} bytes: say it in fewer words")


def too_many_pauses(handler: str) -> HandlerError:
    """What a storage raises that has `MOST_PAUSES`."""
    return HandlerError(f"{handler} was not paused: {MOST_PAUSES} other handlers are, so resume one of them first")


def _size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise HandlerError(f"{shown(text)} is no text: it has characters that UTF-8 lacks") from None
