"""Reads a whole storage and says what is wrong in it: where structures disagree that one script changes together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from struct import Struct
from typing import Any

from shardq.drivers.redis.servers.layout import Layout
from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.hands import decoded, entry_said
from shardq.drivers.redis.verbs.recording import action_said
from shardq.drivers.redis.verbs.records import batch_of, messages_of
from shardq.model import KEPT_NAME_BYTES, KEPT_PIPE, MOST_ACTIONS
from shardq.model.trace import untraced
from shardq.text.wording import counted

_RECORD = Struct("<QII")
_HASHES = ("THREADS", "CHUNKS", "EQUAL", "WAITING", "LETTERS", "RESULTS", "SLEEPS", "OUTBOX", "FAMILIES", "ACTIONS")
_SETS = (
    *("LIVE", "READY", "TIMERS", "OWNERS", "DUE", "AGAIN", "STARVED", "WAITS"),
    *("GRAVES", "SLEEPERS", "OUTWARD", "GONE"),
)


async def wrongs(server: Server) -> list[str]:
    """What is wrong with the storage, a sentence each. Changes nothing; each partition is read at one instant."""
    layout = await server.layout()
    found = list[str]()
    for partition in range(layout.partitions):
        seen = await _Partition.read(server, layout, partition)
        found += [f"partition {partition}: {wrong}" for wrong in seen.wrongs()]
    return found


class _Partition:
    """All keys of a partition, as they were at one instant."""

    def __init__(
        self, state: dict[str, Any], hashes: dict[str, dict[bytes, bytes]], sets: dict[str, dict[bytes, float]]
    ):
        self.state, self.hashes, self.sets = state, hashes, sets
        self.threads = {key.decode(): decoded(said) for key, said in hashes["THREADS"].items()}
        self.nbytes = self.away = 0

    @classmethod
    async def read(cls, server: Server, layout: Layout, partition: int) -> _Partition:
        words: list[tuple[bytes, ...]] = [(b"GET", layout.key(partition, "STATE"))]
        words += [(b"HGETALL", layout.key(partition, name)) for name in _HASHES]
        words += [(b"ZRANGE", layout.key(partition, name), b"0", b"-1", b"WITHSCORES") for name in _SETS]
        state, *rest = await server.at_once(partition, *words)
        hashes = {name: pairs_of(said) for name, said in zip(_HASHES, rest, strict=False)}
        sets = {
            name: {member: float(score) for member, score in pairs_of(said).items()}
            for name, said in zip(_SETS, rest[len(_HASHES) :], strict=True)
        }
        return cls(decoded(state) if state else {}, hashes, sets)

    def wrongs(self) -> Iterator[str]:
        looks = self._threads, self._pending, self._letters, self._sleepers, self._away, self._figures, self._actions
        return chain.from_iterable(look() for look in looks)

    def _threads(self) -> Iterator[str]:
        fields, equal = set[bytes](), Counter[bytes]()
        live, ready, timers, owners = set[bytes](), set[bytes](), dict[bytes, float](), set[bytes]()
        for key, its in self.threads.items():
            queued = 0
            for name, tube in its["tubes"].items() if its["tubes"] else ():
                queued += tube["count"]
                yield from self._tube(key, its, name, tube, fields, equal)
            if queued != its["queued"]:
                yield f"{key} has {counted(queued, 'message')}, and says {its['queued']}"
            if queued:
                live.add(key.encode())
            if its.get("turn") is not None:
                ready.add(b"\0".join((key.rpartition("/")[0].encode(), b"%016d" % its["turn"], key.encode())))
            free = not its["token"] and its.get("pause_end") is None
            if (its.get("turn") is not None) != (queued > 0 and free):
                yield f"{key} is offered, or is not, against what it has: {its}"
            ends = its["lease_end"] if its["token"] else its.get("pause_end")
            if ends is not None:
                timers[key.encode()] = ends
            if its.get("owner"):
                owners.add(its["owner"].encode() + b"\0" + key.encode())
            if not queued and free:
                yield f"{key} is kept without a reason"
        yield from _differs("LIVE", live, set(self.sets["LIVE"]))
        yield from _differs("READY", ready, set(self.sets["READY"]))
        yield from _differs("TIMERS", set(timers), set(self.sets["TIMERS"]))
        yield from _differs("OWNERS", owners, set(self.sets["OWNERS"]))
        yield from _differs("CHUNKS", fields, set(self.hashes["CHUNKS"]))
        there = {field: int(number) for field, number in self.hashes["EQUAL"].items()}
        yield from _differs("EQUAL", set(equal.items()), set(there.items()))
        for key_bytes, ends in timers.items():
            if self.sets["TIMERS"].get(key_bytes, 0) > ends:
                yield f"{key_bytes!r} ends at {ends}, and TIMERS says later"

    def _tube(
        self, key: str, its: dict[str, Any], name: str, tube: dict[str, Any], fields: set[bytes], equal: Counter[bytes]
    ) -> Iterator[str]:
        last, number, chunk = 0, 0, b""
        for place in range(tube["first"], tube["last"] + 1):
            field = f"{its['id']}:{name}:{place}".encode()
            fields.add(field)
            chunk = self.hashes["CHUNKS"].get(field, b"")
            for record in _records(chunk):
                batch = batch_of([record])
                for sequence, message in zip(batch.numbers, batch.messages, strict=True):
                    if sequence <= last:
                        yield f"{key} tube {name}: number {sequence} comes behind {last}"
                    last = sequence
                    if sequence < tube["head"]:
                        continue
                    number, self.nbytes = number + 1, self.nbytes + len(message)
                    if sequence < (tube.get("indexed") or 0):
                        equal[f"{its['id']}:{name.removeprefix('f')}".encode() + b"\0" + _digest(message)] += 1
        if number != tube["count"]:
            yield f"{key} tube {name} has {counted(number, 'message')}, and says {tube['count']}"
        if last >= tube["next"]:
            yield f"{key} tube {name} has number {last}, and {tube['next']} is to come"
        if tube["last"] >= tube["first"] and len(chunk) != tube["tail"]:
            yield f"{key} tube {name}: its last chunk has {len(chunk)} bytes, and it says {tube['tail']}"
        if not tube["count"] and tube["first"] <= tube["last"]:
            yield f"{key} tube {name} is empty and has chunks"

    def _pending(self) -> Iterator[str]:
        numbers, waits, deferred = set[bytes](), set[bytes](), 0
        for number, said in self.hashes["WAITING"].items():
            entry, body = entry_said(said)
            numbers.add(number)
            again = entry.get("schedule") is not None
            messages = messages_of(body)
            self.nbytes += sum(map(len, messages))
            deferred += 0 if again else len(messages)
            places = ("AGAIN", "STARVED") if again else ("DUE",)
            scores = [self.sets[name][number] for name in places if number in self.sets[name]]
            if scores != [entry["due_us"]]:
                yield f"entry {number!r} is due at {entry['due_us']}, and {places} say {scores}"
            kind = b"again\0" if again else b"once\0"
            waits.update(
                kind + entry["pipe"].encode() + b"\0" + _digest(message) + b"\0" + number for message in messages
            )
        listed = chain(self.sets["DUE"], self.sets["AGAIN"], self.sets["STARVED"])
        yield from _differs("DUE, AGAIN and STARVED", numbers, set(listed))
        yield from _differs("WAITS", waits, set(self.sets["WAITS"]))
        if deferred != self.state.get("deferred", 0):
            yield f"what waits has {counted(deferred, 'message')}, and the figure says {self.state.get('deferred', 0)}"
        recurrent = len(self.sets["AGAIN"]) + len(self.sets["STARVED"])
        if recurrent != self.state.get("recurrent", 0):
            figure = self.state.get("recurrent", 0)
            yield f"what comes again has {counted(recurrent, 'message')}, and the figure says {figure}"

    def _letters(self) -> Iterator[str]:
        sizes, places = Counter[bytes](), set[bytes]()
        for place, letter in self.hashes["LETTERS"].items():
            grave, parted, _ = place.partition(b"\0")
            if parted:
                places.add(place)
                sizes[grave] += len(letter)
        graves = {place.partition(b"\0")[0] for place in places}
        yield from _differs("GRAVES", places, set(self.sets["GRAVES"]))
        said = {grave: int(size) for grave, size in self.hashes["LETTERS"].items() if b"\0" not in grave}
        yield from _differs("bytes of graves", {(grave, sizes[grave]) for grave in graves}, set(said.items()))
        self.nbytes += sum(sizes.values())
        results = {place for place in places if place.startswith(KEPT_PIPE.encode() + b"\0")}
        for what, count, figure in (("letters", len(places - results), "dead"), ("results", len(results), "kept")):
            if count != self.state.get(figure, 0):
                yield f"there are {count} {what}, and the figure says {self.state.get(figure, 0)}"
        # Of several with one name the latest is found.
        names = {self.hashes["LETTERS"][place][:KEPT_NAME_BYTES]: place for place in sorted(results)}
        yield from _differs("RESULTS", set(names.items()), set(self.hashes["RESULTS"].items()))

    def _sleepers(self) -> Iterator[str]:
        members = {
            event.encode() + b"\0" + name for name, said in self.hashes["SLEEPS"].items() for event in decoded(said)
        }
        yield from _differs("SLEEPERS", members, set(self.sets["SLEEPERS"]))
        yield from _differs("GONE", set(self.hashes["FAMILIES"]), set(self.sets["GONE"]))

    def _away(self) -> Iterator[str]:
        outward = set[bytes]()
        for field, stored in self.hashes["OUTBOX"].items():
            target, _, number = field.partition(b":")
            outward.add(b"%05d\0%016d" % (int(target), int(number)))
            batch = batch_of(list(_records(entry_said(stored)[1])))
            self.away, self.nbytes = self.away + batch.count, self.nbytes + len(batch.payload)
        yield from _differs("OUTWARD", outward, set(self.sets["OUTWARD"]))

    def _figures(self) -> Iterator[str]:
        queued = sum(its["queued"] for its in self.threads.values())
        figures = self.state.get("accepted", 0) - self.state.get("handled", 0)
        if queued + self.away != figures:
            yield f"tubes and the outbox have {counted(queued + self.away, 'message')}, and the figures say {figures}"
        nbytes = self.nbytes + sum(self.state.get("lent", {}).values())
        if nbytes != self.state.get("used", 0):
            yield f"messages, letters and lent room have {nbytes} bytes, the figure says {self.state.get('used', 0)}"

    def _actions(self) -> Iterator[str]:
        last, found = self.state.get("actions", 0), dict[bytes, int]()
        for field, stored in self.hashes["ACTIONS"].items():
            try:
                found[field] = action_said(stored).number
            except ValueError:
                yield f"field {field!r} of ACTIONS has no action"
        numbers = range(max(1, last - MOST_ACTIONS + 1), last + 1)
        wanted = {(b"%d" % (number % MOST_ACTIONS), number) for number in numbers}
        yield from _differs("ACTIONS", wanted, set(found.items()))


def _records(chunk: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(chunk):
        _, packed, nbytes = _RECORD.unpack_from(chunk, at)
        count, width = (packed - (1 << 31), 4) if packed >> 31 else (packed, 2)
        after = at + _RECORD.size + width * count + nbytes
        if count:
            yield chunk[at:after]
        at = after


def _digest(message: bytes) -> bytes:
    message = untraced(message)
    if len(message) <= 40:
        return b"%d:%b" % (len(message), message)
    return b"#" + hashlib.sha1(message).hexdigest().encode()


def _differs(name: str, wanted: set[Any], there: set[Any]) -> Iterator[str]:
    if wanted - there:
        yield f"{name} lacks {_some(wanted - there)}"
    if there - wanted:
        yield f"{name} has too much: {_some(there - wanted)}"


def _some(items: set[Any]) -> str:
    return f"{len(items)}, as {sorted(items)[:3]}"


def pairs_of(said: Any) -> dict[bytes, bytes]:
    """A hash, or a sorted set with scores, in both protocols."""
    if isinstance(said, dict):
        return said
    if said and isinstance(said[0], list):
        return dict(said)
    return dict(zip(said[::2], said[1::2], strict=True))
