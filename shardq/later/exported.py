"""Requests that waited, in a file: a line of JSON for each. Its message is base64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from shardq.errors import ConfigurationError
from shardq.exporting import check_takes_requests, lines_of
from shardq.model import Deferred


class _Line(msgspec.Struct, frozen=True):
    id: str
    pipe: str
    due_us: int
    message: bytes


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


def lines(requests: Sequence[Deferred]) -> bytes:
    """The requests as they stand in a file."""
    return b"".join(_encode(_Line(*request)) + b"\n" for request in requests)


def read_requests(path: str) -> Iterator[Deferred]:
    """The requests of a file that `later cancel` wrote. Raises `ConfigurationError` where it cannot be read."""
    for number, line in lines_of(path):
        try:
            found = _decode(line)
        except (msgspec.MsgspecError, ValueError) as error:
            raise ConfigurationError(
                f"line {number} of {path} is no request as `later cancel` writes them: {error}"
            ) from error
        check_takes_requests(found.pipe, number, path)
        yield Deferred(found.id, found.pipe, found.due_us, found.message)
