"""Messages as JSON can show them, without knowing the type of their requests."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from shardq.encoding.envelope import split
from shardq.encoding.secrets import NO_SECRETS, Secrets, masked, revealed


def readable(message: bytes, secrets: Secrets = NO_SECRETS, *, reveal: bool = False) -> Any:
    """The content of a message, with a mask in the place of each secret unless told to `reveal` them. A dict whose keys
    are neither all texts nor all integers becomes `{"pairs": [[key, value], ...]}`. A message that is no MessagePack
    becomes `{"undecodable": ..., "because": ...}`.
    """
    hide = revealed if reveal else masked
    try:
        return in_json(hide(content_of(message), secrets))
    except Exception as error:  # a message that is nested too deeply raises, too
        return {"undecodable": message, "because": str(error)}


def content_of(message: bytes) -> Any:
    """What a message holds. Raises what decoding raises."""
    _, content = split(message)
    return msgspec.msgpack.decode(content)


def in_json(value: Any) -> Any:
    """What stands in JSON for a decoded value; msgspec writes bytes and times by itself."""
    if isinstance(value, dict):
        kinds = set(map(type, value))
        if kinds <= {str} or kinds == {int}:
            return {key: in_json(its) for key, its in value.items()}
        return {"pairs": [[in_json(key), in_json(its)] for key, its in value.items()]}
    if isinstance(value, list | tuple):
        return [in_json(its) for its in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, msgspec.msgpack.Ext):
        return {"extension": value.code, "data": bytes(value.data)}
    return value
