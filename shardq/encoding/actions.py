"""Actions of operators as bytes, so many at most that each storage has room for every one."""

from __future__ import annotations

import msgspec

from shardq.model import Action, cut_note

#: Most bytes of each text, in UTF-8. What is longer is cut, so that all of them fit into `LONGEST_ACTION_BYTES`.
_WHAT, _TARGET, _REASON, _USER, _HOST, _BY = 24, 168, 128, 48, 64, 12
#: No number is larger.
_MOST = (1 << 63) - 1
_CUT = "…"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, int, str, str, int, int, str, str]).decode


def encode_action(action: Action) -> bytes:
    """What a storage keeps of it beside its number and its time."""
    return _encode(
        (
            _cut(action.what, _WHAT),
            _cut(action.target, _TARGET),
            _within(action.count),
            _cut(action.reason, _REASON),
            _cut(action.user, _USER),
            _within(action.uid),
            _within(action.pid),
            _cut(action.host, _HOST),
            _cut(action.by, _BY),
        )
    )


def decode_action(number: int, at_us: int, told: bytes) -> Action:
    """The action that a storage kept. Raises `ValueError` for what is none."""
    try:
        return Action(*_decode(told), number, at_us)
    except msgspec.MsgspecError as error:
        raise ValueError(f"action {number} cannot be read: {error}") from error


def _within(number: int) -> int:
    return min(max(0, number), _MOST)


def _cut(text: str, most_bytes: int) -> str:
    """As much of a text as there is room for, and a sign where that is not all."""
    kept = cut_note(text, most_bytes).decode()
    if len(kept) >= len(text):
        return kept
    return cut_note(text, most_bytes - len(_CUT.encode())).decode() + _CUT
