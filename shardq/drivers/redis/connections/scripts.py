"""The scripts of the server, one for each verb, and the commands that run them.

A file in `lua/` begins with comments: `keys:` names the keys it touches, in their order, `needs:` the files of
`lua/shared/` that stand before it. For `VERB with outputs` the file `outputs` stands there in the place of
`without_outputs`, and it also touches the `keys with outputs:`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

_WORD = re.compile(r"[A-Za-z_]\w*")
_encode = msgspec.msgpack.Encoder().encode


class Script(NamedTuple):
    """One verb."""

    name: str
    text: bytes
    sha: bytes
    keys: tuple[str, ...]
    """Names of the keys that it touches, without the partition."""


class Command(NamedTuple):
    """A script with its arguments, as the server reads it."""

    script: Script
    by_sha: bytes
    rest: bytes
    words: int
    slot: int = 0
    """Of a cluster, in which its keys lie."""

    @property
    def packed(self) -> bytes:
        """For a server that has the script."""
        return b"*%d\r\n" % (self.words + 2) + self.by_sha + self.rest

    @property
    def with_text(self) -> bytes:
        """For a server that does not."""
        keys = self.by_sha.partition(_bulk(self.script.sha))[2]
        return b"*%d\r\n" % (self.words + 2) + _bulk(b"EVAL") + _bulk(self.script.text) + keys + self.rest


class Words(NamedTuple):
    """A plain command."""

    packed: bytes
    slot: int = 0

    @property
    def with_text(self) -> bytes:
        return self.packed


#: What a connection sends.
Sendable = Command | Words


@cache
def script(name: str) -> Script:
    folder = files("shardq.drivers.redis") / "lua"
    verb, _, more = name.partition(" with ")
    source = (folder / f"{verb}.lua").read_text()
    keys = (*_header(source, "keys"), *(_header(source, f"keys with {more}") if more else ()))
    names = ", ".join(f"KEYS[{place}]" for place in range(1, len(keys) + 1))
    parts = [f"local {', '.join(keys)} = {names}", "local unpack = table.unpack or unpack"]
    needs = [more if more and part == f"without_{more}" else part for part in _header(source, "needs")]
    shared = [(folder / "shared" / f"{part}.lua").read_text() for part in needs]
    text = "\n".join([*parts, *_used("\n".join(shared), source), source]).encode()
    return Script(name, text, hashlib.sha1(text).hexdigest().encode(), keys)


def command(of: Script, keys: bytes, arguments: dict[str, Any], blobs: Sequence[bytes], slot: int = 0) -> Command:
    """A call of a script. `keys` is what `packed_keys` made; they lie in the slot."""
    words = [_bulk(_encode(arguments))]
    words += [b"$%d\r\n%b\r\n" % (len(blob), blob) for blob in blobs]
    return Command(of, keys, b"".join(words), len(of.keys) + 1 + len(words), slot)


def packed_keys(of: Script, keys: Sequence[bytes]) -> bytes:
    """Begin of each call of a script on a partition, which has these keys."""
    return b"".join(map(_bulk, (b"EVALSHA", of.sha, b"%d" % len(keys), *keys)))


def _used(shared: str, source: str) -> list[str]:
    """What of the shared text this source uses, in its order: to define all that is there, at each call, would take
    longer than most calls. A definition begins with `local` at the beginning of a line, a command with `redis`.
    """
    code = "\n".join(line for line in shared.splitlines() if not line.startswith("--"))
    parts = [part.rstrip() for part in re.split(r"^(?=local |redis)", code, flags=re.MULTILINE) if part.strip()]
    wanted, kept = set(_WORD.findall(source)), list[str]()
    for part in reversed(parts):
        if part.startswith("redis") or not wanted.isdisjoint(_names(part)):
            kept.append(part)
            wanted.update(_WORD.findall(part))
    return kept[::-1]


def _names(definition: str) -> list[str]:
    """What a definition defines."""
    found = re.match(r"local (?:function (\w+)|([\w, ]+))", definition)
    assert found, definition
    return [found[1]] if found[1] else found[2].strip().split(", ")


def _bulk(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)


def _header(source: str, name: str) -> list[str]:
    found = re.search(rf"^-- {name}: (.*)$", source, re.MULTILINE)
    assert found, f"a script says no {name}"
    return found[1].split()
