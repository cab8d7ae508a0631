"""Refuses what a storage can never take, before the first append of a call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shardq.errors import HandlerError, MessageTooLarge, shown
from shardq.model import Limits, Part, key_of


def check_limits(
    steps: Sequence[Sequence[Part]], limits: Limits, requests: Sequence[Any], pipes: Iterable[str]
) -> None:
    """Raise `HandlerError` for a tube whose name cannot be stored, and `MessageTooLarge` for a message that would find
    no room in the empty storage. `steps` are those of a call with these requests, each for its pipe in `pipes`.
    """
    for number, step in enumerate(steps):
        for pipe, messages in step:
            if len(pipe) > limits.key_bytes or not pipe.isascii():
                _check_key(key_of(pipe), limits.key_bytes)
            # What is larger than a step is a step alone.
            if len(messages) == 1 and len(messages[0]) > limits.message_bytes:
                before = sum(len(its) for earlier in steps[:number] for name, its in earlier if name == pipe)
                position = [place for place, name in enumerate(pipes) if name == pipe][before]
                raise MessageTooLarge(
                    f"request {position}, {shown(requests[position])}, is a message of {len(messages[0])} bytes for "
                    f"{pipe}, and the storage takes at most {limits.message_bytes} with its capacity: register "
                    f"something smaller, as the name of a file, or give the storage more capacity"
                )


def _check_key(key: str, most: int) -> None:
    try:
        nbytes = len(key.encode())
    except UnicodeEncodeError:
        raise HandlerError(f"{shown(key)} is no name that can be stored: it is not UTF-8") from None
    if nbytes > most:
        raise HandlerError(
            f"{shown(key)} is longer than {most} bytes: shorten the name of the module or class, or use smaller "
            f"numbers of threads"
        )
