"""What of the outputs of a batch is stored. Wants the lock of the storage held."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from shardq.model.trace import untraced
from shardq.outputs import Output

#: Those of messages for a pipe that have no equal in the storage, each once.
_Absent = Callable[[str, Sequence[bytes]], list[bytes]]


def fresh(outputs: Sequence[Output], absent: _Absent) -> Iterator[Output]:
    """The outputs that have messages to store. Where one must have no equal, it has none among the earlier ones
    either.
    """
    sent: defaultdict[str, set[bytes]] = defaultdict(set)
    for output in outputs:
        pipe, messages = output.pipe, output.messages
        if output.absent:
            messages = [message for message in absent(pipe, messages) if untraced(message) not in sent[pipe]]
        if messages:
            sent[pipe].update(map(untraced, messages))
            yield output._replace(messages=messages)
