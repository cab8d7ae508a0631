"""How handlers, threads and tubes are called."""

from __future__ import annotations

import sys
from typing import Any

from shardq.errors import HandlerError, shown

#: Module name of what Python was started with.
MAIN_SCRIPT = "__main__"
#: The name under which workers import such a script again, so that its `if __name__ == "__main__"` part does not run.
MAIN_SCRIPT_IN_WORKER = "__shardq_main__"
#: All its names: the last is the one that it has in children of `multiprocessing`.
MAIN_NAMES = (MAIN_SCRIPT, MAIN_SCRIPT_IN_WORKER, "__mp_main__")


def handler_name(handler: type[Any]) -> str:
    """`module/Handler`: the part of a pipe that says whose requests it carries.

    A class of the module that Python was started with (`python -m app.jobs`) goes by that module's real name, also in
    a child of `multiprocessing`, which imported it once more.
    """
    module = handler.__module__
    if module in MAIN_NAMES:
        main = vars(sys.modules[MAIN_SCRIPT])
        # In some interactive sessions (`python -m asyncio`) the module is the console's, and the class is elsewhere.
        own = main.get(handler.__qualname__.partition(".")[0]) is not None
        module = main["__spec__"].name if own and main.get("__spec__") else MAIN_SCRIPT
    return f"{module}/{handler.__qualname__}"


def key_of(pipe: str) -> str:
    """The thread (lock key) a pipe belongs to."""
    return pipe.rpartition("/")[0]


def split_key(key: str) -> tuple[str, str]:
    """`module/Handler/thread` as (`module/Handler`, `thread`)."""
    name, _, thread = key.rpartition("/")
    return name, thread


def priority_of(pipe: str) -> int:
    """The priority of a pipe. Raises `HandlerError` for what is no pipe."""
    try:
        return int(pipe.rpartition("/")[2])
    except ValueError:
        raise HandlerError(f"{shown(pipe)} is no pipe: it must end with /thread/priority") from None


def dead_pipe(name: str) -> str:
    """The pipe of a handler's dead letters, given `module/Handler`."""
    return f"{name}/dead/0"


#: Where the results of requests are kept that have a ticket. No worker serves it.
KEPT_PIPE = "shardq.results.tickets/Ticket/kept/0"
#: So many bytes at the beginning of a result that is kept are its name.
KEPT_NAME_BYTES = 19
#: Whose threads are inboxes of callers.
INBOX = "shardq.results.inbox/Inbox"


def takes_requests(pipe: str) -> bool:
    """Whether a pipe is one of a handler's tubes; else it has dead letters, or results for callers."""
    handler = split_key(key_of(pipe))[0]
    return pipe not in (dead_pipe(handler), KEPT_PIPE) and handler != INBOX


def is_inbox(name: str) -> bool:
    """Whether what is in a tube, or in those of a thread, are replies for a caller, and no requests."""
    return name.startswith(f"{INBOX}/")


def inbox_key(number: int) -> str:
    """The thread of a caller's inbox."""
    return f"{INBOX}/{number}"


def inbox_pipe(number: int) -> str:
    """The pipe that results for a caller go to."""
    return f"{INBOX}/{number}/0"
