"""Cuts what a call stores into steps, each of which a storage takes whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from shardq.model import Limits, Part


def steps_of(parts: Sequence[Part], limits: Limits) -> list[list[Part]]:
    """The parts in their order, in as few steps as keep within the limits; a part is cut where it has to be. A message
    that is larger than a step is a step alone.
    """
    if _fits(parts, limits):
        return [list(parts)]
    steps, step = list[list[Part]](), _Step(limits)
    for pipe, messages in parts:
        start = 0
        while start < len(messages):
            end = step.fill(messages, start)
            if end > start:
                step.parts.append((pipe, messages[start:end] if start or end < len(messages) else messages))
            start = end
            if start < len(messages):
                steps.append(step.parts)
                step = _Step(limits)
    return [*steps, step.parts] if step.parts else steps


def _fits(parts: Sequence[Part], limits: Limits) -> bool:
    """Whether the parts are one step, which they are nearly always."""
    if len(parts) > limits.parts:
        return False
    count, nbytes = 0, len(parts) * limits.part_bytes
    for _, messages in parts:
        count += len(messages)
        nbytes += len(messages[0]) if len(messages) == 1 else sum(map(len, messages))
    return 0 < count <= limits.messages and nbytes <= limits.nbytes


class _Step:
    """The step that is being filled."""

    def __init__(self, limits: Limits) -> None:
        self.parts: list[Part] = []
        self._limits = limits
        self._messages = self._nbytes = 0

    def fill(self, messages: Sequence[bytes], start: int) -> int:
        """Take messages of one part from this position on, as many as go in. Returns where the next ones begin."""
        limits = self._limits
        room = limits.nbytes - self._nbytes - limits.part_bytes
        most = min(len(messages) - start, limits.messages - self._messages)
        if len(self.parts) == limits.parts or most <= 0:
            return start
        nbytes = sum(map(len, messages[start : start + most]))
        if nbytes > room:
            most, nbytes = _as_many_as_fit(messages, start, most, room)
            if not most and not self.parts:
                most, nbytes = 1, len(messages[start])
        if most:
            self._messages += most
            self._nbytes += nbytes + limits.part_bytes
        return start + most


def _as_many_as_fit(messages: Sequence[bytes], start: int, most: int, room: int) -> tuple[int, int]:
    """How many messages have at most so many bytes together, and how many these are."""
    nbytes = 0
    for count in range(most):
        size = len(messages[start + count])
        if nbytes + size > room:
            return count, nbytes
        nbytes += size
    return most, nbytes
