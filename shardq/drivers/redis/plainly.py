"""Verbs for code without an event loop: they block the thread."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from shardq.blocking import here

_Result = TypeVar("_Result")


def plainly(verb: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a verb of a storage on a server, which does not suspend here."""
    former, here.blocking = here.blocking, True
    try:
        verb.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    finally:
        here.blocking = former
        verb.close()
    raise AssertionError("a verb that has to wait was called without an event loop")
