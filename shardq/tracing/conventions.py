"""How spans are called, and what they say of themselves: the conventions of OpenTelemetry for messaging.

They are still in development there. So the names stand here and nowhere else.
"""

from __future__ import annotations

from shardq.model import Batch, key_of, priority_of, split_key

_SYSTEM, _DESTINATION = "messaging.system", "messaging.destination.name"
_OPERATION, _KIND = "messaging.operation.name", "messaging.operation.type"
_COUNT = "messaging.batch.message_count"
_THREAD, _PRIORITY = "messaging.destination.partition.id", "shardq.priority"
_MESSAGE, _ATTEMPTS = "messaging.message.id", "shardq.attempts"
#: Why an operation failed: the class of the exception.
ERROR_TYPE = "error.type"

Attributes = dict[str, str | int]


def name_of_sending(handler: str) -> str:
    return f"send {handler}"


def name_of_processing(handler: str) -> str:
    return f"process {handler}"


def of_sending(handler: str, count: int) -> Attributes:
    """What the span of a call says that sends so many requests. `handler`: `module/Handler`."""
    return _common("send", handler, count)


def of_processing(handler: str, batch: Batch) -> Attributes:
    """What the span of a batch says. Of a request alone that is its id as well: its tube, and its number there."""
    said = _common("process", handler, batch.count)
    said[_THREAD], said[_PRIORITY] = split_key(key_of(batch.pipe))[1], priority_of(batch.pipe)
    if batch.count == 1:
        said[_MESSAGE] = f"{batch.pipe}#{batch.sequence}"
    if batch.failed:
        said[_ATTEMPTS] = batch.failed.attempts
    return said


def _common(operation: str, handler: str, count: int) -> Attributes:
    said: Attributes = {_SYSTEM: "shardq", _OPERATION: operation, _KIND: operation, _DESTINATION: handler}
    if count > 1:
        said[_COUNT] = count
    return said
