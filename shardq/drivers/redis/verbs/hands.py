"""What the server says of a hand, and what it is told of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from shardq.drivers.redis.verbs.records import batch_of
from shardq.model import EMPTY, Batch, Ending, Failed, Hand, Terms

#: What a script says as one text.
decoded = msgspec.msgpack.Decoder().decode


def entry_said(stored: bytes) -> tuple[dict[str, Any], bytes]:
    """What is said of an entry that waits for its time, or is on its way; and its body, or its bodies as records."""
    end = 4 + int.from_bytes(stored[:4], "little")
    return decoded(stored[4:end]), stored[end:]


def batch_said(told: dict[str, Any], records: Sequence[bytes]) -> Batch:
    """The batch that a script handed out."""
    if not records:
        return EMPTY
    name = told["name"]
    batch = batch_of(records)
    batch.pipe, batch.front = f"{told['key']}/{name.removeprefix('f')}", name[0] == "f"
    batch.taken_us = told["taken_us"]
    if failed := told.get("failed"):
        batch.failed = failed_said(failed)
    return batch


def failed_said(failed: dict[str, Any]) -> Failed:
    """Failures of a message."""
    return Failed(failed["attempts"], failed["first_us"], failed["last_us"], _ending(failed.get("ending")))


def hand_said(reply: Sequence[bytes]) -> Hand | None:
    """The hand that a turn returned."""
    told = decoded(reply[0])
    return Hand(told["key"], told["token"], batch_said(told, reply[1:])) if "key" in told else None


def tube_name(batch: Batch) -> str:
    """What the server calls the tube that a batch is from."""
    priority = batch.pipe.rpartition("/")[2]
    return f"f{priority}" if batch.front else priority


def leaving(batch: Batch, count: int) -> dict[str, Any]:
    """The first messages of a batch, which leave."""
    return {"name": tube_name(batch), "from": batch.sequence, "through": batch.through_first(count)}


def hand_told(hand: Hand) -> dict[str, Any]:
    """A hand whose batch leaves as a whole."""
    told: dict[str, Any] = {"key": hand.key, "token": hand.token}
    if hand.batch.count:
        told |= leaving(hand.batch, hand.batch.count)
    return told


def terms_told(terms: Terms | None) -> dict[str, Any] | None:
    if terms is None:
        return None
    # As texts: not all integers are numbers of a script.
    told: dict[str, Any] = {"priorities": [str(priority) for priority in terms.priorities], "limit": terms.limit}
    if terms.starvation_limit is not None:
        told["starvation_limit"] = terms.starvation_limit
    return told


def ending_told(ending: Ending | None) -> dict[str, Any]:
    if ending is None:
        return {}
    return {name: value for name, value in ending._asdict().items() if value is not None and value is not False}


def _ending(told: Any) -> Ending | None:
    if told is None:
        return None
    return Ending(**told) if isinstance(told, dict) else Ending()
