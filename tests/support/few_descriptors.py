"""Handlers whose process has hardly a descriptor left, or takes those that it has."""

from __future__ import annotations

import os
import resource
import threading
from zoneinfo import ZoneInfo

import msgspec

from shardq import Handler
from shardq.system.descriptors import KEPT
from tests.support.jobs import Note, _Routed, _write


class Zoned(msgspec.Struct):
    """To make one the table of its time zone is read, the first time in a process."""

    folder: str
    number: int
    zone: str

    def __post_init__(self) -> None:
        ZoneInfo(self.zone)


class Several(_Routed):
    """Opens at one time as many files as a handler is promised, the journal among them."""

    async def perform(self, *notes: Note) -> None:
        for note in notes:
            opened = [os.eventfd(0) for _ in range(KEPT - 1)]
            try:
                _write("done", note)
            finally:
                for descriptor in opened:
                    os.close(descriptor)


class Exhaust(Handler[Note]):
    """From its end on this process may open nothing."""

    def perform(self, *notes: Note) -> None:
        for note in notes:
            _write("done", note)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))


class Recover(Handler[Note]):
    """Gives this process all back."""

    def perform(self, *notes: Note) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for note in notes:
            _write("done", note)


class Frugal(_Routed):
    """Needs no descriptor for its work: it makes a folder `made-PID-NUMBER`."""

    timeout_s = 60.0

    def perform(self, *notes: Note) -> None:
        for note in notes:
            _make(note.folder, note.number)


class FrugalAsync(_Routed):
    async def perform(self, *notes: Note) -> None:
        for note in notes:
            _make(note.folder, note.number)


class InZone(Handler[Zoned]):
    def perform(self, *requests: Zoned) -> None:
        for request in requests:
            _make(request.folder, request.number)


def _make(folder: str, number: int) -> None:
    os.mkdir(f"{folder}/made-{os.getpid()}-{number}")


def start_thread() -> None:
    """Have workers executed instead of forked."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()
