"""What each command of `python -m shardq` does."""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType

from shardq.cli.dead.reading import check_holds_requests
from shardq.cli.opened import attached, observed, run
from shardq.cli.render import as_json, tell_wrongs
from shardq.cli.views import View
from shardq.connect import is_redis, segment_name
from shardq.drivers.shared import contents, segments
from shardq.drivers.shared.storage import SharedStorage
from shardq.drivers.shared.supervised import SupervisedSegment
from shardq.errors import SegmentError
from shardq.model import KEPT_PIPE, Batch, Standing, key_of, split_key
from shardq.model.trace import trace_id_of
from shardq.text.printable import printable
from shardq.text.wording import counted


def peek(options: argparse.Namespace) -> None:
    """Print requests at the head of a tube, with the traces that they were sent in."""
    check_holds_requests(options.pipe)
    view, handler = View(options), split_key(key_of(options.pipe))[0]
    messages = run(_peeked(options)).messages
    requests = [view.request(message, handler) for message in messages]
    traces = [trace_id_of(message) for message in messages]
    pairs = list(zip(requests, traces, strict=True))
    if options.json:
        print(as_json([{"request": its, "trace_id": trace} for its, trace in pairs] if options.traces else requests))
        return
    for request, trace in pairs:
        print(as_json(request) + (f"  trace_id={trace}" if trace else ""))
    if not requests and options.limit > 0:
        print(f"no requests in {printable(options.pipe)}")


def destroy(options: argparse.Namespace) -> None:
    """Remove a segment that no other process is attached to."""
    if is_redis(options.url):
        _server().destroy(options)
        return
    name = segment_name(options.url)
    try:
        with attached(options.url) as storage:
            segment = SupervisedSegment(storage)
            gone = segment.stand.standing is Standing.LEFT  # what is still there is elsewhere, too
            if not segment.close_if_unused(lose_requests=options.with_requests or gone):
                raise _in_use(segment, options.url)
            storage.destroy()
    except SegmentError as error:
        if not segments.is_unusable(error):
            raise
        segments.destroy(name, unused=True)
    if options.json:
        print(as_json({"destroyed": name}))


def check(options: argparse.Namespace) -> None:
    """Print what is wrong with a storage. Raises `StorageDamaged` where something is."""
    if is_redis(options.url):
        _server().check(options)
        return
    with attached(options.url) as storage:
        found = contents.wrongs(storage)
    tell_wrongs(found, options.url, json=options.json)


def _server() -> ModuleType:
    """The commands for a server, which need what only its driver needs."""
    return import_module("shardq.cli.server")


async def _peeked(options: argparse.Namespace) -> Batch:
    with observed(options.url) as observer:
        return await observer.range(options.pipe, options.limit)


def _in_use(segment: SupervisedSegment, url: str) -> SegmentError:
    others = len(segment.other_pids())
    if others:
        which = counted(others, "process: end it", "processes: end them")
        return SegmentError(f"{url} is in use by {which} first")
    left = ", ".join(run(_left(segment.storage)))
    return SegmentError(f"{url} has {left} left: add --with-requests to lose them")


async def _left(storage: SharedStorage) -> list[str]:
    """What a segment would lose, in words."""
    left = contents.in_words(contents.counts(storage))
    if await storage.length(KEPT_PIPE):
        left.append("results that are kept")
    if await storage.pauses():
        left.append("pauses of handlers")
    return left
