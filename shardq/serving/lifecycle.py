"""The segment of a supervisor: how it is named, found or made, taken over, and left."""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from hashlib import blake2b

from shardq.connect import segment_name
from shardq.drivers.shared import contents
from shardq.drivers.shared.segments import LONGEST_NAME, Share, destroy_abandoned
from shardq.drivers.shared.storage import SharedStorage
from shardq.drivers.shared.supervised import PATIENCE_S, SupervisedSegment
from shardq.errors import (
    SegmentBusy,
    SegmentError,
    SegmentExists,
    SegmentMissing,
    SegmentNotReady,
    SupervisorRunning,
)
from shardq.model import Counts, Standing
from shardq.settings import SupervisorSettings
from shardq.supervisor.output.telling import tell
from shardq.supervisor.wishes.control import Control
from shardq.supervisor.wishes.reload import Resumption
from shardq.supervisor.wishes.signals import Signals
from shardq.supervisor.wishes.standby import await_succession
from shardq.text.wording import counted

log = logging.getLogger("shardq.supervisor")


def default_url(target: str) -> str:
    """`shm://` and the module's name. If that name cannot be a segment's, or is too long, the segment is named after
    its end and a digest, so that no two modules share a segment.
    """
    module = target.partition(":")[0]
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", module)
    if name != module or len(name) > LONGEST_NAME:
        digest = blake2b(module.encode(), digest_size=4).hexdigest()
        name = f"{name[len(digest) + 1 - LONGEST_NAME :]}-{digest}"
    return f"shm://{name}"


def claimed(
    url: str,
    settings: SupervisorSettings,
    options: argparse.Namespace,
    handlers: Collection[str],
    control: Control | None,
    signals: Signals,
) -> SupervisedSegment | None:
    """The segment, with this process as its supervisor. None: this process stood by for another supervisor, and was
    told to end. Raises `SupervisorRunning` and `StorageMoved`.
    """
    name = segment_name(url)
    while True:
        segment = SupervisedSegment(_open(name, settings, options), handlers, deferred=settings.deferred)
        segment.check_stays()
        mine = segment.become_supervisor()
        if not mine and options.standby and control:
            mine = await_succession(segment, control, signals, url)
            settings.stale = "adopt"  # what is in it was not left over: it was served
        if mine and not segment.removed:
            return segment
        segment.storage.detach()
        if mine:
            continue  # the former supervisor removed the segment just when this process attached
        if not options.standby:
            raise SupervisorRunning(f"another supervisor serves {url}: stop it first, or choose another --url")
        _remove_if_unused(name)
        return None


def resumed(
    url: str,
    settings: SupervisorSettings,
    options: argparse.Namespace,
    handlers: Collection[str],
    resumption: Resumption,
) -> SupervisedSegment:
    """The segment that this process supervised before it executed itself anew."""
    storage = SharedStorage.attach_again(segment_name(url), resumption.lock, resumption.slot)
    segment = SupervisedSegment(_for_handlers(storage, options), handlers, deferred=settings.deferred)
    segment.become_supervisor(again=True)
    return segment


def _open(name: str, settings: SupervisorSettings, options: argparse.Namespace) -> SharedStorage:
    """Adopt the segment with everything in it, or create it."""
    capacity_bytes = settings.capacity_bytes
    if options.private:
        for abandoned in destroy_abandoned():
            log.info("abandoned segment removed", extra={"segment": abandoned})
    try:
        return adopt(name, capacity_bytes, options)
    except (SegmentMissing, SegmentNotReady):
        pass
    try:
        storage = SharedStorage.create(name, capacity_bytes, private=options.private, share=Share.FAMILY)
        return _for_handlers(storage, options)
    except SegmentExists:
        return adopt(name, capacity_bytes, options)  # another process created it first


def adopt(name: str, capacity_bytes: int | None, options: argparse.Namespace) -> SharedStorage:
    storage = SharedStorage.attach(name, share=Share.FAMILY)
    has = storage.capacity_bytes
    if capacity_bytes not in (None, has):
        log.warning("segment keeps the capacity it has", extra={"segment": name, "capacity_bytes": has})
    return _for_handlers(storage, options)


def _for_handlers(storage: SharedStorage, options: argparse.Namespace) -> SharedStorage:
    """Prepare the storage for these handlers. Handlers of a script may register follow-ups for one another, because all
    workers of the family import the script. And each wait for the guard ends: a supervisor has to hear signals.
    """
    storage.importable_only = not options.main
    storage.limit_waits(PATIENCE_S)
    return storage


def without_leftovers(
    segment: SupervisedSegment, settings: SupervisorSettings, options: argparse.Namespace, handlers: Collection[str]
) -> SupervisedSegment:
    """The segment, or with `--stale sweep` a new one in its place. Logs what was left in it."""
    storage, left = segment.storage, contents.counts(segment.storage)
    name, capacity_bytes = storage.name, storage.capacity_bytes
    found: dict[str, object] = {"segment": name, **contents.fields(left)}
    if not contents.in_words(left):
        return segment
    if settings.stale == "adopt":
        log.info("segment adopted", extra=found)
        return segment
    if not segment.close_if_unused(lose_requests=True):
        pids = ", ".join(map(str, segment.other_pids()))
        raise SegmentError(
            f"segment {name!r} cannot be swept while processes {pids} are attached to it: end them first"
        )
    storage.destroy()
    log.warning("segment swept", extra=found)
    storage = SharedStorage.create(
        name, settings.capacity_bytes or capacity_bytes, private=options.private, share=Share.FAMILY
    )
    segment = SupervisedSegment(_for_handlers(storage, options), handlers, deferred=settings.deferred)
    if not segment.become_supervisor():
        raise SupervisorRunning(f"another supervisor took segment {name!r} while this one swept it")
    return segment


def leave(segment: SupervisedSegment, url: str, targets: Sequence[str]) -> None:
    """Remove the segment if nothing is left in it and no other process uses it; otherwise say how to go on."""
    storage = segment.storage
    if segment.stand.standing is not Standing.OPEN:
        storage.detach()  # it tells programs where to go, or waits for content; the log said so
        return
    try:
        unused = segment.close_if_unused()
    except SegmentBusy as busy:
        unused = False
        tell(f"shardq.supervise: {busy}", sys.stderr)
    if unused or segment.private:
        _remove(storage, url)
        return
    pids, left = segment.other_pids(), contents.counts(storage)
    storage.detach()
    if contents.in_words(left) or not _remove_if_unused(storage.name):
        tell(f"shardq.supervise: {what_stays(url, targets, left, pids)}", sys.stderr)


def what_stays(url: str, targets: Sequence[str], left: Counts, pids: Sequence[int]) -> str:
    """Says why a segment stays when its supervisor ends, and what to do with it. It stays because something is left in
    it, or because these other processes are attached to it. Where there is neither, it has results that are kept, or
    pauses of handlers.
    """
    again = f"`python -m shardq.supervise {' '.join(targets)} --url {shlex.quote(url)}` goes on with it"
    if kinds := contents.in_words(left):
        one = sum(contents.fields(left).values()) == 1
        return f"{', '.join(kinds)} {'stays' if one else 'stay'} in {url}: {again}"
    if not pids:
        return f"results that are kept, or pauses of handlers, stay in {url}: {again}"
    users = counted(len(pids), "process", "processes")
    which = f" ({', '.join(map(str, pids))})"
    later = f"`python -m shardq destroy --url {url}` removes it afterwards"
    return f"{url} is empty and stays for {users}{which} attached to it: {again}, {later}"


def _remove(storage: SharedStorage, url: str) -> None:
    try:
        storage.destroy()
    except SegmentBusy as busy:
        tell(
            f"shardq.supervise: {busy}; {url} stays: `python -m shardq destroy --url {url}` removes it afterwards",
            sys.stderr,
        )


def _remove_if_unused(name: str) -> bool:
    """Called after this process detached and left the segment to the other processes. They may have detached at the
    same moment, and left it because this one was still attached. Then it is removed here. Returns whether it is gone.
    """
    try:
        storage = SharedStorage.attach(name, share=Share.FAMILY)
    except SegmentMissing:
        return True
    except SegmentError:
        return False
    storage.limit_waits(PATIENCE_S)
    try:
        last = SupervisedSegment(storage).last_to_leave()
    except SegmentBusy:
        last = False
    if not last:
        storage.detach()
        return False
    try:
        storage.destroy()
    except SegmentBusy:
        return False
    return True
