"""What a worker can tell the storage about a handler's threads before it has made the handler.

A storage acknowledges a batch and hands out a batch of the next thread in one step. So it has to know before that step
how large the next batch may be. No code of the handler may run between that step and its batch: should the process die
in that code, the batch would get the blame.
"""

from __future__ import annotations

import inspect
from typing import Any

from shardq.errors import HandlerError
from shardq.handler import Handler
from shardq.handling.checks import check_priorities, check_usable, info_of
from shardq.model import Terms


def terms_of(handler: type[Handler[Any]], batch_size: int) -> Terms | None:
    """The terms for threads of the handler, with this size where it says none. None where only an instance can say."""
    said = batch_size if _is_default(handler, "batch_size") else handler.batch_size
    size = batch_size if said is None else said
    try:
        check_usable(handler)
        if type(size) is not int or (size > 1 and info_of(handler).one_by_one):
            return None
        return Terms(check_priorities(handler), size, handler.timeout_s, handler.starvation_limit)
    except HandlerError:  # it is raised again, and logged, where the handler is made
        return None


def begins_at_once(handler: type[Handler[Any]]) -> bool:
    """Whether no code of the handler runs before its first batch and after its last one."""
    made_by_python = handler.__init__ is object.__init__ and handler.__new__ is object.__new__
    plain_class = type(handler) is type
    return made_by_python and plain_class and all(_is_default(handler, name) for name in ("create", "start", "stop"))


def _is_default(handler: type[Handler[Any]], name: str) -> bool:
    return inspect.getattr_static(handler, name) is inspect.getattr_static(Handler, name)
