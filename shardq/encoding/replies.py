"""Results as messages: what a worker sends to the inbox of a caller, for the requests of one batch."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack, unpack
from typing import Any

import msgspec

from shardq.encoding.codec import MsgspecSerializer, array_header, decode_array
from shardq.errors import DecodeError
from shardq.model import KEPT_NAME_BYTES, Batch


class Failure(msgspec.Struct, array_like=True, frozen=True):
    """How a request failed for good."""

    type: str
    """Class of the exception, with its module; empty where there was none."""
    message: str
    traceback: str
    attempts: int
    signal: str | None
    arguments: bytes | None = None
    """MessagePack of those of the exception, where its handler says that callers may see it."""


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """Results of requests that were handled in one batch, or the failure of one request."""

    numbers: bytes
    """Of the requests in their inbox, 8 bytes each, little-endian."""
    results: msgspec.Raw
    """One for each, in an array."""
    attempts: int
    taken_us: int
    """When the batch was handed out, Unix microseconds of the storage's clock."""
    worked_us: int
    """How long its handler took for these requests: their share of the batch, where each has an equal one."""
    failure: Failure | None = None

    @property
    def requests(self) -> Sequence[int]:
        """Numbers of the requests."""
        return unpack(f"<{len(self.numbers) // 8}Q", self.numbers)


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """The reply to a request that has a ticket."""

    digest: bytes
    """Of the ticket."""
    handler: str
    """`module/Handler`."""
    ready_us: int
    """When there was a result, Unix microseconds."""
    reply: msgspec.Raw


#: What the holder of a ticket is told who waits: the result is there.
NOTICE = b"\xc0"
#: An array of four, of which the first is a text of 16 bytes.
_KEPT_BEGIN = b"\x94\xc4\x10"
_encode_kept = msgspec.msgpack.Encoder().encode
_decode_kept = msgspec.msgpack.Decoder(Kept).decode
encode_reply = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reply).decode
_serializer = MsgspecSerializer()
_NO_RESULTS = msgspec.Raw(array_header(0))


def decode_reply(message: bytes) -> Reply:
    """Raises `DecodeError`."""
    try:
        return _decode(message)
    except msgspec.DecodeError as error:
        raise DecodeError(
            f"a result is none that this version of shardq reads: run workers and callers with one version; {error}"
        ) from error


def kept_result(digest: bytes, handler: str, ready_us: int, reply: bytes) -> bytes:
    """The reply as it is kept for a ticket."""
    return _encode_kept(Kept(digest, handler, ready_us, msgspec.Raw(reply)))


def name_of_kept(digest: bytes) -> bytes:
    """What a result begins with that is kept for the ticket of this digest."""
    return _KEPT_BEGIN + digest


def digest_of_kept(result: bytes) -> bytes:
    """The digest of the ticket that a result is kept for."""
    return result[len(_KEPT_BEGIN) : KEPT_NAME_BYTES]


def decode_kept(message: bytes) -> Kept:
    """Raises `DecodeError`."""
    try:
        return _decode_kept(message)
    except msgspec.DecodeError as error:
        raise DecodeError(
            f"a result is none that this version of shardq reads: run workers and callers with one version; {error}"
        ) from error


def success(numbers: Sequence[int], results: Sequence[bytes], batch: Batch, worked_us: int) -> bytes:
    """The reply to requests of a batch that was handled."""
    attempts = 1 + (batch.failed.attempts if batch.failed else 0)
    raw = msgspec.Raw(array_header(len(results)) + b"".join(results))
    return encode_reply(Reply(_packed(*numbers), raw, attempts, batch.taken_us, worked_us))


def refusal(number: int, failure: Failure, taken_us: int) -> bytes:
    """The reply to a request that failed for good."""
    return encode_reply(Reply(_packed(number), _NO_RESULTS, failure.attempts, taken_us, 0, failure))


def _packed(*numbers: int) -> bytes:
    return pack(f"<{len(numbers)}Q", *numbers)


def encode_results(kind: Any, results: Sequence[Any]) -> list[bytes]:
    """Results of this type as messages. Raises `RequestError`, `HandlerError` and `DecodeError` for what would not
    arrive as it is.
    """
    messages = _serializer.encode(kind, results)
    if kind not in _PLAIN:
        decode_array(kind, array_header(len(messages)) + b"".join(messages))
    return messages


#: Of these, values of the class are values of the type.
_PLAIN = (int, float, bool, str, bytes, type(None))
