"""The two handlers of the census.

A handler object lives for one binding: it is created, stopped and created again, in whichever process takes its
thread next, and a batch can come twice. `Count` emits its results, so each comes to `Fold` once, however often its
batch was counted. What a handler does outside of the queue can still be repeated: so `Fold` keeps everything in files,
writes them before `perform` returns (the batch is acknowledged after that), and takes a path it knows already for what
it is: a repetition.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from examples.census.measure import Counts, measure_file
from examples.census.table import Table, as_json, as_text, fold
from shardq import Handler, Route

#: Threads the files are spread over: enough for any number of workers to share them evenly.
COUNT_THREADS = 32

#: Files in one call: about 0.2 s of work, so a stop is prompt and progress is smooth.
COUNT_BATCH_SIZE = 32

#: Environment variable with the directory the results go to. One census at a time can use it.
OUT_VARIABLE = "CENSUS_OUT"

RESULTS_NAME = "results.jsonl"
JSON_NAME = "table.json"
TEXT_NAME = "table.txt"


class CountRequest(NamedTuple):
    """A source file to be counted."""

    path: str
    package: str


class FoldRequest(NamedTuple):
    """What a source file came to."""

    path: str
    package: str
    counts: Counts


class Count(Handler[CountRequest]):
    """Parses source files and counts what is in them."""

    @classmethod
    def route(cls, *requests: CountRequest) -> list[Route]:
        return [Route(thread=crc32(request.path.encode()) % COUNT_THREADS) for request in requests]

    def batch_size(self) -> int:
        return COUNT_BATCH_SIZE

    def perform(self, *requests: CountRequest) -> None:
        self.emit_sync(Fold, *(FoldRequest(path, package, measure_file(path)) for path, package in requests))


class Fold(Handler[FoldRequest]):
    """Folds results by package. All of them go through one thread, so the files have one writer at a time."""

    def start(self) -> None:
        self._out = Path(os.environ[OUT_VARIABLE])
        self._seen: set[str] = set()
        self._table: Table = {}
        self._take_new(_recorded(self._out / RESULTS_NAME))

    def perform(self, *requests: FoldRequest) -> None:
        new = self._take_new(requests)
        _record(self._out / RESULTS_NAME, new)
        _replace(self._out / JSON_NAME, as_json(self._table))
        _replace(self._out / TEXT_NAME, as_text(self._table))

    def _take_new(self, results: tuple[FoldRequest, ...] | list[FoldRequest]) -> list[FoldRequest]:
        """Fold the results that were not seen yet, and return them."""
        new = []
        for result in results:
            if result.path in self._seen:
                continue
            self._seen.add(result.path)
            fold(self._table, result.package, result.counts)
            new.append(result)
        return new


def _recorded(path: Path) -> list[FoldRequest]:
    """The results on file. A last line that was cut off by a death goes: its batch was not acknowledged."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole_bytes = content.rfind(b"\n") + 1
    if whole_bytes < len(content):
        os.truncate(path, whole_bytes)
    return msgspec.json.Decoder(FoldRequest).decode_lines(content[:whole_bytes])


def _record(path: Path, results: list[FoldRequest]) -> None:
    with path.open("ab") as file:
        file.write(msgspec.json.Encoder().encode_lines(results))


def _replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new one, never a part."""
    unfinished = path.with_suffix(f"{path.suffix}.new")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
