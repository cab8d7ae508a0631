"""What the system refuses, for real: an error that says what to do, its exit code, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shardq.errors import SegmentUnavailable
from shardq.shm.registry import attach_store, close_store, create_store
from shardq.shm.store import Store
from shardq.supervisor.exits import Exit
from tests.faults.kit.points import Child
from tests.support import jobs
from tests.support.drivers import MIB
from tests.support.own_shm import needs_mounts, python, run, shell

SUPERVISE = (sys.executable, "-m", "shardq.supervise", jobs.__name__, "--url", "shm://app", "--workers", "1", "--drain")
PIPE = "m/H/0/0"

#: Prints what creating a segment raises, None: nothing, and what is in /dev/shm then.
CREATE = """
import json, os
from shardq.drivers import SharedStorage
from shardq.errors import ShardqError
try:
    SharedStorage.create("app", 64 << 20).destroy()
    error = None
except ShardqError as raised:
    error = f"{type(raised).__name__}: {raised}"
print(json.dumps([error, sorted(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else []]))
"""

#: As before, once for each number of descriptors that may still be opened, until it works.
CREATE_WITH_FEW = """
import json, os, resource
from shardq.drivers import SharedStorage
from shardq.errors import ShardqError
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
used = max(map(int, os.listdir("/proc/self/fd"))) + 1
for free in range(20):
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + free, most))
    try:
        SharedStorage.create("app", 64 << 20).destroy()
        error = None
    except ShardqError as raised:
        error = f"{type(raised).__name__}: {raised}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps([error, sorted(os.listdir("/dev/shm"))]))
    if error is None:
        break
"""

REFUSALS = {
    "read-only": ("ro", "", "SegmentUnavailable: .*mount it for reading and writing"),
    "full": ("size=4k", "", "SegmentNoRoom: /dev/shm has .*docker run --shm-size"),
    "no inode for the lock file": ("nr_inodes=1", "", "SegmentNoRoom: .*nr_inodes"),
    "no inode for the segment": ("nr_inodes=2", "", "SegmentNoRoom: .*nr_inodes"),
    "no inode for the semaphore": ("nr_inodes=3", "", "SegmentNoRoom: .*nr_inodes"),
    "no inode for its second name": ("nr_inodes=4", "", "SegmentNoRoom: .*nr_inodes"),
    "missing": ("size=1m", "umount /dev/shm; mount -t tmpfs tmpfs /dev", "SegmentUnavailable: .*there is no /dev/shm"),
    "address space": ("size=64m", "ulimit -v 1000000", "SegmentUnavailable: .*`ulimit -v`"),
    "size of files": ("size=64m", "ulimit -f 1000", "SegmentUnavailable: .*`ulimit -f`"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_segment_that_cannot_be_made_says_why_and_leaves_nothing(kind: str) -> None:
    needs_mounts()
    shm, before, expected = REFUSALS[kind]

    done = run(*shell(before, python(CREATE)), shm=shm)

    assert (done.returncode, done.stderr) == (0, "")
    error, left = json.loads(done.stdout)
    assert re.fullmatch(expected + ".*", error), error
    assert left == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_where_only_root_may_write_an_ordinary_user_is_told() -> None:
    needs_mounts()

    done = run(*python(CREATE.replace("try:", "os.setuid(65534)\ntry:")), shm="mode=755")

    error, left = json.loads(done.stdout)
    assert re.fullmatch(r"SegmentUnavailable: .*may not write in /dev/shm: its mode should be 1777", error), error
    assert left == []


def test_with_whatever_few_descriptors_creating_says_so_and_leaves_nothing() -> None:
    needs_mounts()

    done = run(*python(CREATE_WITH_FEW))

    assert (done.returncode, done.stderr) == (0, "")
    *refused, (last, left) = map(json.loads, done.stdout.splitlines())
    assert len(refused) >= 3
    assert [error for error, _ in refused if "`ulimit -n`" not in error] == []
    assert [files for _, files in refused] == [[]] * len(refused)
    assert (last, left) == (None, [])


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_supervisor_that_gets_no_segment_ends_with_the_code_for_that(kind: str) -> None:
    needs_mounts()
    shm, before, expected = REFUSALS[kind]

    done = run(*shell(before, SUPERVISE), shm=shm)

    assert done.returncode == Exit.SEGMENT, done.stderr
    assert "Traceback" not in done.stderr
    if kind != "full":  # where it is not worth while to try
        assert re.search(expected.partition(": ")[2], done.stderr), done.stderr


@pytest.mark.parametrize("descriptors", range(6, 15))
def test_a_supervisor_with_too_few_descriptors_says_so(descriptors: int) -> None:
    needs_mounts()

    done = run(*shell(f"ulimit -n {descriptors}", SUPERVISE))

    assert done.returncode in (Exit.SEGMENT, Exit.OK), done.stderr
    assert done.returncode == Exit.OK or "`ulimit -n`" in done.stderr
    assert "Traceback" not in done.stderr


# Of a segment that is there


@contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    with limited(resource.RLIMIT_NOFILE, max(map(int, os.listdir("/proc/self/fd"))) + 1):
        taken = []
        try:
            while True:
                try:
                    taken.append(os.dup(0))
                except OSError:
                    break
            yield
        finally:
            for descriptor in taken:
                os.close(descriptor)


@pytest.fixture
def store(name: str) -> Iterator[Store]:
    store = create_store(name, MIB)
    yield store
    close_store(store)


def test_attaching_without_a_descriptor_or_address_space_says_so(store: Store) -> None:
    name = store.segment.name

    def attached() -> list[str]:
        close_store(store)
        said = []
        for kind, soft in ((resource.RLIMIT_AS, 1 << 20), (resource.RLIMIT_NOFILE, 0)):
            with limited(kind, soft), pytest.raises(SegmentUnavailable) as caught:
                attach_store(name)
            said.append(str(caught.value))
        close_store(attach_store(name))
        return said

    space, descriptors = Child(attached).result()
    assert "`ulimit -v`" in space
    assert "`ulimit -n`" in descriptors


def test_a_bell_or_a_watch_without_a_descriptor_says_so_and_later_works(store: Store) -> None:
    def tried() -> list[str]:
        store.inspection.counts()  # takes a slot
        said = []
        for act in (store.doorbell.open, store.waiting.deaths):
            with no_descriptor_left(), pytest.raises(SegmentUnavailable) as caught:
                act()
            said.append(str(caught.value))
            assert act() >= 0
        close_store(store)
        return said

    assert all("`ulimit -n`" in said for said in Child(tried).result())


def test_who_has_no_descriptor_left_can_register_beside_the_dead(store: Store) -> None:
    """Whether a process lives is read in /proc where its lock does not tell; that there is none to be called is found
    out after the messages were stored.
    """

    def sleeps() -> None:
        store.waiting.lie_down(None, None)

    Child(sleeps).end()
    with no_descriptor_left():
        assert store.appending.append([(PIPE, [b"message"])])
    assert store.reading.read(PIPE, 9).messages == [b"message"]


def test_who_watches_a_server_without_a_descriptor_relies_on_the_safety_net(store: Store) -> None:
    def lies_down() -> bool:
        store.waiting.deaths()
        with no_descriptor_left():
            found, _ = store.waiting.lie_down(None, None)
        close_store(store)
        return found is None

    assert store.delivering.claim("m/H/0")
    assert Child(lies_down).result()


def test_what_can_be_read_only_cannot_be_attached_to_and_says_so() -> None:
    needs_mounts()
    text = f"""
import os
from shardq.cli import main
from shardq.shm.registry import close_store, create_store
close_store(create_store("app", {MIB}))
assert os.system("mount -o remount,ro /dev/shm") == 0
for words in (["status", "--sample", "0"], ["tubes"], ["destroy"]):
    print(main([*words, "--url", "shm://app"]))
"""
    done = run(*python(text))

    assert done.stdout.splitlines()[-2:] == ["0", "1"]
    assert "requests: 0 queued" in done.stdout  # `status` and `tubes` only read
    assert re.fullmatch(r"shardq: .*mount it for reading and writing\n", done.stderr), done.stderr
