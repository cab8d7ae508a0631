"""The plain call, as nearly every call is: all of it is one step, and nothing in it is odd.

It is found out in C, where the extension is there: see `shardq._core`. What is not plain, and without the extension
each call, goes the general way, which finds the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from shardq._core.choice import extension
from shardq.model import Limits, Part

#: The step that stores these messages: of the class of the places, a place for each message, the messages, the pipe of
#: each place, and what a storage takes. None: the call is not plain. Raises what the mapping raises for a place.
OneStep = Callable[[type, Any, Sequence[bytes], Mapping[Any, str], Limits], list[Part] | None]


@cache
def one_step() -> OneStep:
    """What finds it out in this process. Raises `ConfigurationError`."""
    found: OneStep = getattr(extension(), "one_step", _is_not_plain)
    return found


def _is_not_plain(*call: Any) -> None:
    return None
