"""Requests to messages and back, with msgspec's MessagePack.

A message is the MessagePack of one request. A stored batch is their concatenation, and that concatenation behind an
array header *is* the MessagePack of a list of them: one typed decoder call serves a whole batch (about a third of the
time of one call each), yet every message keeps its own boundary.

Equal requests have equal messages, in every process: sets and dicts are put into an order. A type whose requests cannot
come back equal is refused, once it is seen. Where only values tell, the first requests of a type are tried out; of a
type that leaves open what a value is, all requests are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import msgspec

from shardq.encoding.codeless import is_codeless
from shardq.encoding.foreign import decode_foreign, encode_foreign
from shardq.encoding.kinds import Order, traits
from shardq.encoding.round_trip import check_round_trip, reason_of
from shardq.encoding.steady import steady
from shardq.errors import DecodeError, HandlerError, RequestError, shown
from shardq.model import Batch

#: How many requests of a type with code of its own are tried out in each process.
TRIED = 8


@lru_cache(maxsize=1024)
def array_header(count: int) -> bytes:
    """MessagePack array header: https://github.com/msgpack/msgpack/blob/master/spec.md#array-format-family."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


_encode_one: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=encode_foreign).encode
_encode_sorted: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=encode_foreign, order="deterministic").encode


def _encode_deep(request: Any) -> bytes:
    return _encode_one(steady(request, _encode_one))


def _encode_open(request: Any) -> bytes:
    """With dicts in their order, those included whose keys the encoder cannot sort."""
    try:
        return _encode_sorted(request)
    except TypeError:
        return _encode_deep(request)


_ENCODERS = {Order.FIXED: _encode_one, Order.SORTED: _encode_open, Order.DEEP: _encode_deep}


@dataclass(slots=True)
class _Plan:
    """How requests of a type are encoded and decoded."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], list[Any]]
    untried: float
    """How many more requests to try out."""
    codeless: bool
    """Whether no code of the type runs when a request is decoded."""


@lru_cache(maxsize=1024)
def _plan(request_type: Any) -> _Plan:
    try:
        decode = msgspec.msgpack.Decoder(list[request_type], dec_hook=decode_foreign).decode
        known = traits(request_type)
    except Exception as error:  # all that an annotation can raise when it is evaluated, and types that are not known
        raise HandlerError(
            f"requests of type {shown(request_type)} cannot be decoded: {reason_of(error)}; annotate types that are "
            f"there when the program runs, and that messages can hold"
        ) from error
    if known.problem:
        raise HandlerError(f"requests of type {shown(request_type)} would not arrive as they are: {known.problem}")
    untried = float("inf") if known.anything else TRIED if known.own_code else 0
    return _Plan(_ENCODERS[known.order], decode, untried, is_codeless(request_type))


def lone_decoder(serializer: object, request_type: Any) -> Callable[[Batch], list[Any]] | None:
    """What decodes requests of a type as the serializer does, if no code but this library's and msgspec's runs then."""
    if type(serializer) is not MsgspecSerializer:
        return None
    plan = _plan(request_type)
    return partial(_decoded, plan, request_type) if plan.codeless else None


def check_type(request_type: Any) -> None:
    """Raise `HandlerError` for a type whose requests cannot be stored and come back equal."""
    _plan(request_type)


class MsgspecSerializer:
    """The default `Serializer`: NamedTuples, dataclasses, `msgspec.Struct`, pydantic models, and what they hold."""

    def encode(self, request_type: Any, requests: Sequence[Any]) -> list[bytes]:
        plan = _plan(request_type)  # a type that could never be decoded is refused before anything is stored
        try:
            messages = list(map(plan.encode, requests))
        except Exception as error:
            raise _blame(plan, requests) from error
        if plan.untried > 0:
            count = int(min(len(requests), plan.untried))
            self._try(plan, request_type, requests[:count], messages[:count])
            plan.untried -= count
        return messages

    def _try(self, plan: _Plan, request_type: Any, requests: Sequence[Any], messages: list[bytes]) -> None:
        try:
            if plan.decode(array_header(len(messages)) + b"".join(messages)) == list(requests):
                return
        except Exception:
            pass  # one of the requests cannot be encoded: the check below says which, and why
        check_round_trip(self, request_type, requests, messages)

    def decode(self, request_type: Any, batch: Batch) -> list[Any]:
        return _decoded(_plan(request_type), request_type, batch)


def _decoded(plan: _Plan, request_type: Any, batch: Batch) -> list[Any]:
    try:
        return plan.decode(array_header(batch.count) + batch.payload)
    except (msgspec.DecodeError, ValueError) as error:
        # msgspec.ValidationError is a DecodeError; pydantic's is a ValueError.
        what = f"messages {batch.sequence} to {batch.through - 1}"
        raise _undecodable(what, request_type, error) from error


def decode_array(kind: Any, array: bytes) -> list[Any]:
    """The results in a MessagePack array. Raises `DecodeError`."""
    try:
        return _plan(kind).decode(array)
    except (msgspec.DecodeError, ValueError) as error:
        raise _undecodable("results", kind, error) from error


def _undecodable(what: str, kind: Any, error: Exception) -> DecodeError:
    return DecodeError(f"{what} do not all decode as {shown(kind)}: {reason_of(error)}")


def _blame(plan: _Plan, requests: Sequence[Any]) -> RequestError:
    for position, request in enumerate(requests):
        try:
            plan.encode(request)
        except Exception as error:
            return RequestError(f"request {position}, {shown(request)}, cannot be encoded: {reason_of(error)}")
    return RequestError("the requests cannot be encoded")
