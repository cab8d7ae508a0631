"""What a handler sends on, as a storage takes it with an acknowledgement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shardq.errors import HandlerError
from shardq.model import KEPT_PIPE, When
from shardq.text.wording import counted


class Output(NamedTuple):
    """Messages for one tube that a handler sends on: they are stored when the batch that they come of is acknowledged,
    or not at all.
    """

    pipe: str
    messages: Sequence[bytes]
    when: When | None = None
    """Without a schedule."""
    absent: bool = False
    """Whether only those are stored that have no equal: see `Storage.append`."""


def hands_over(outputs: Sequence[Output], acknowledged: int) -> bool:
    """Whether no more requests are sent on than acknowledged. Such outputs may use room that others leave: a stage that
    hands over has to go on where one before it multiplies, and has filled the room of follow-ups. Else neither could.
    """
    count = 0
    for _, messages, *_ in outputs:
        count += len(messages)
    return count <= acknowledged


def are_plain(outputs: Sequence[Output], most: int) -> bool:
    """Whether these are no more than `most`, which all come at once, to tubes for which no room has to be made."""
    plain = len(outputs) <= most
    for pipe, _, when, _ in outputs:
        plain = plain and when is None and pipe != KEPT_PIPE
    return plain


def check_outputs(outputs: Sequence[Output], most: int) -> bool:
    """Whether all of them come at once. Raises `HandlerError` for outputs that are no step: more than `most`, or some
    with a schedule.
    """
    if len(outputs) > most:
        given = counted(len(outputs), "output")
        raise HandlerError(f"{given} are too many for one step of {most}: acknowledge the batch in several parts")
    at_once = True
    for _, _, when, _ in outputs:
        if when is not None:
            if when.schedule:
                raise HandlerError("an output cannot come again and again: register it with recurrent=")
            at_once = False
    return at_once
