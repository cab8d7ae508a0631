"""What was counted of each handler in a storage on a server: see `lua/shared/tallies.lua`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.hands import decoded
from shardq.model import BUCKETS, Full, HandlerView, Reason, Times

#: So many handlers are counted by name in all partitions together, as in each of them.
MOST_TALLIED = 254
#: What those beyond are counted as.
OTHER = "other"
#: Within so many seconds of silence a rate falls to a third.
RATE_SPAN_S = 10.0
#: By which mark what is counted.
FAILED_MARKS: dict[Reason, str] = {"raised": "R", "died": "D", "timeout": "T", "undecodable": "U"}
FULL_MARKS: dict[Full, str] = {"waited": "W", "raised": "F"}

#: What was counted of a handler, by names.
Sums = dict[str, float]


async def handlers_of(server: Server) -> list[HandlerView]:
    """The handlers of which anything was counted, by their names. One script on each partition."""
    totals = dict[str, Sums]()
    for reply in await server.run_everywhere("tallies", {}):
        for name, sums in sums_of(reply).items():
            _join(totals.setdefault(name, {}), sums)
    for name in sorted(totals.keys() - {OTHER})[MOST_TALLIED:]:
        _join(totals.setdefault(OTHER, {}), totals.pop(name))
    return [_view(name, sums) for name, sums in sorted(totals.items())]


def sums_of(reply: Sequence[bytes]) -> dict[str, Sums]:
    """What was counted in one partition, as its script returned it: with rates as of now."""
    now_us, many, *words = reply
    pairs = list(zip(words[::2], words[1::2], strict=True))
    came = {name.decode(): int(number) for name, number in pairs[: int(many)]}
    sums = {name.decode(): dict[str, float](decoded(told)) for name, told in pairs[int(many) :]}
    return {
        name: _now(sums.get(name, {}), came.get(name, 0), int(now_us)) for name in sorted(came.keys() | sums.keys())
    }


def _now(its: Sums, came: int, now_us: int) -> Sums:
    """Bring rates to this moment, as `tally` of the scripts does."""
    gone_s = max(0.0, (now_us - its.pop("rated_us", now_us)) / 1e6)
    since, left = came - its.pop("came", came), math.exp(-gone_s / RATE_SPAN_S)
    falling = its.get("came_per_s", 0.0) * left + since / RATE_SPAN_S
    rates: Sums = {"came_per_s": since / gone_s if gone_s > RATE_SPAN_S else falling}
    return its | rates | {"done_per_s": its.get("done_per_s", 0.0) * left, "accepted": came}


def _join(total: Sums, more: Mapping[str, float]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _view(handler: str, sums: Mapping[str, float]) -> HandlerView:
    def count(name: str) -> int:
        return int(sums.get(name, 0))

    def times(kind: str) -> Times:
        return Times.counted([count(f"{kind}{place}") for place in range(BUCKETS)])

    works = times("k")
    return HandlerView(
        handler=handler,
        accepted=count("accepted"),
        done=count("d"),
        dead=count("x"),
        cancelled=count("c"),
        failed={reason: count(mark) for reason, mark in FAILED_MARKS.items()},
        batches=works.count,
        busy_s=count("worked_us") / 1e6,
        accepted_per_s=sums.get("came_per_s", 0.0),
        done_per_s=sums.get("done_per_s", 0.0),
        wait=times("w"),
        work=works,
        waited_s=count("waited_us") / 1e6,
        full={how: count(mark) for how, mark in FULL_MARKS.items()},
    )
