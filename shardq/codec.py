"""Requests to messages and back, with msgspec's MessagePack.

A message is the MessagePack of one request. A stored batch is their concatenation, and that concatenation behind an
array header *is* the MessagePack of a list of them: one typed decoder call serves a whole batch (about a third of the
time of one call each), yet every message keeps its own boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import PurePath
from typing import Any

import msgspec
from pydantic import BaseModel, SecretBytes, SecretStr, TypeAdapter
from pydantic_core import to_jsonable_python

from shardq.errors import DecodeError, HandlerError, RequestError, shown
from shardq.model import Batch
from shardq.portrait import portrait


def array_header(count: int) -> bytes:
    """MessagePack array header: https://github.com/msgpack/msgpack/blob/master/spec.md#array-format-family."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def _encode_foreign(value: Any) -> Any:
    """What msgspec does not know by itself. Pydantic models go by field name, so aliases do not matter; addresses,
    URLs, paths and the like as pydantic writes them in JSON.
    """
    if isinstance(value, BaseModel):
        return value.model_dump(round_trip=True)
    if isinstance(value, SecretStr | SecretBytes):
        return value.get_secret_value()
    if isinstance(value, PurePath):
        return str(value)
    return to_jsonable_python(value)


def _decode_foreign(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        # Lax, because MessagePack has fewer types than Python: a UUID or an enum arrives as what it was encoded to.
        return kind.model_validate(value, strict=False, by_alias=False, by_name=True)
    return TypeAdapter(kind).validate_python(value, strict=False)


_encode_one: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=_encode_foreign).encode


@lru_cache(maxsize=1024)
def _list_decoder(request_type: Any) -> Callable[[bytes], list[Any]]:
    try:
        return msgspec.msgpack.Decoder(list[request_type], dec_hook=_decode_foreign).decode
    except TypeError as error:
        raise HandlerError(f"requests of type {shown(request_type)} cannot be decoded: {portrait(error)}") from error


class MsgspecSerializer:
    """The default `Serializer`: NamedTuples, dataclasses, `msgspec.Struct`, pydantic models, and what they hold."""

    def encode(self, request_type: Any, requests: Sequence[Any]) -> list[bytes]:
        _list_decoder(request_type)  # a type that could never be decoded is refused before anything is stored
        try:
            return list(map(_encode_one, requests))
        except Exception as error:
            raise self._blame(requests) from error

    def decode(self, request_type: Any, batch: Batch) -> list[Any]:
        decode = _list_decoder(request_type)
        try:
            return decode(array_header(batch.count) + batch.payload)
        except (msgspec.DecodeError, ValueError) as error:
            # msgspec.ValidationError is a DecodeError; pydantic's is a ValueError.
            raise DecodeError(
                f"messages {batch.sequence} to {batch.through - 1} do not all decode as {shown(request_type)}: "
                f"{portrait(error)}"
            ) from error

    def _blame(self, requests: Sequence[Any]) -> RequestError:
        for position, request in enumerate(requests):
            try:
                _encode_one(request)
            except Exception as error:
                return RequestError(f"request {position}, {shown(request)}, cannot be encoded: {portrait(error)}")
        return RequestError("the requests cannot be encoded")
