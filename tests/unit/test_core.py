"""The frequent case in C: what it leaves is what Python leaves, word for word."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from shardq._core import engine as compiled
from shardq.cli.parser import new_parser
from shardq.drivers.shared.engine import VARIABLE, engine_name
from shardq.errors import ConfigurationError
from shardq.handling.plain import one_step
from shardq.model import EMPTY, Batch, Ending, Hand, Part, Pause, Terms
from shardq.outputs import Output
from shardq.shm import words as at
from shardq.shm.processes.exit_log import ExitLog
from shardq.shm.store import Store
from shardq.version import __version__
from tests.faults.kit.fsck import fsck
from tests.support import hands
from tests.support.chance import SEED
from tests.support.deaths import become_of_the_dead
from tests.support.engines import needs_c, stands_in, store_of, using, watch_engine
from tests.support.python import run
from tests.support.segments import NewStore

pytestmark = needs_c

PIPES = [f"m/H/{thread}/{priority}" for thread in range(6) for priority in (0, 0, 1)]
NAMES = frozenset(["m/H"])
#: Around nothing, around what an extent holds, and large. A single message of 4,036 bytes fills a page exactly.
SIZES = (0, 1, 9, 100, 1000, 3900, 4036, 4096, 20_000, 65_400, 65_536)
CAPACITY_BYTES = 16 << 20


@pytest.fixture
def two(new_store: NewStore) -> tuple[Store, Store]:
    """A store whose frequent case is done in C, and one that does all in Python."""
    return store_of("c", new_store, CAPACITY_BYTES, 16), store_of("python", new_store, CAPACITY_BYTES, 16)


def call(random: Random) -> list[Part]:
    pipes = random.sample(sorted(set(PIPES)), random.choice((1, 1, 2, 5)))
    return [(pipe, messages(random)) for pipe in pipes]


def messages(random: Random) -> list[bytes]:
    size, count = random.choice(SIZES), random.choice((1, 1, 2, 3, 64, 65, 130))
    return [bytes((random.randrange(256),)) * size for _ in range(count if size < 1000 else min(count, 3))]


def serve(store: Store, pipe: str, limit: int) -> list[bytes] | None:
    """Take and acknowledge, unless a worker has the thread."""
    key = pipe.rpartition("/")[0]
    token = store.delivering.claim(key)
    if not token:
        return None
    batch = hands.take(store.delivering, [pipe], limit, token)
    if batch.count:
        hands.pop(store.delivering, pipe, batch.through, token)
    assert store.delivering.unclaim(key, token)
    return batch.messages


def die(store: Store, pipe: str, limit: int, owner: int, ending: Ending | None) -> bool | None:
    """Have another process, which this owner word names, die with a batch in hand; this one sees it. None: a worker has
    the thread. False: there was no batch.
    """
    key = pipe.rpartition("/")[0]
    token = store.delivering.claim(key)
    if not token:
        return None
    if not store.delivering.take(key, token, Terms((0, 1), limit)).count:
        return not store.delivering.unclaim(key, token)
    if ending:
        ExitLog(store.segment).note(owner, ending)
    become_of_the_dead(store, key, owner)
    return True


class Doubled(list[bytes]):
    """Gives each message twice."""

    def __iter__(self) -> Iterator[bytes]:
        return (message for message in super().__iter__() for _ in range(2))


class Worker:
    """A worker of a store, as it makes one turn after the other."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hand: Hand | None = None

    def turn(self, limit: int, sent_on: list[Part], *, stay: bool, rests: bool) -> object:
        """One turn, and what it gave. Where there is a batch in hand, this leaves with it."""
        delivering, terms = self._store.delivering, {"m/H": Terms((0, 1), limit)}
        outputs = [Output(pipe, messages) for pipe, messages in sent_on if self._hand and self._hand.batch.count]
        if rests and not outputs:
            self._hand = delivering.rest(self._hand, NAMES, terms, stay=stay, may_sleep=False).hand
        else:
            self._hand = delivering.turn(self._hand, NAMES, terms, stay=stay, outputs=outputs)
        return self._hand and (self._hand.key, self._hand.token, _seen(self._hand.batch))

    def fail(self) -> object:
        """What is in hand failed. The thread is still this worker's."""
        if not self._hand or not self._hand.batch.count:
            return None
        failed = self._store.delivering.fail(self._hand)
        self._hand = self._hand._replace(batch=EMPTY)
        return failed.attempts

    def stop(self) -> None:
        """Acknowledge a part of what is in hand, and release the thread."""
        hand, self._hand = self._hand, None
        if hand:
            self._store.delivering.pop(hand, hand.batch.count // 2)
            assert self._store.delivering.unclaim(hand.key, hand.token)


def _seen(batch: Batch) -> object:
    failed = batch.failed and (batch.failed.attempts, batch.failed.ending)
    return batch.pipe, batch.sequence, batch.through, batch.count, batch.messages, batch.numbers, failed, batch.front


def counted(store: Store) -> Counter[str]:
    """Counts what is done in C from now on."""
    done = Counter[str]()

    def noting(verb: str) -> Callable[[tuple[Any, ...], Any], None]:
        def note(arguments: tuple[Any, ...], returned: Any) -> None:
            done[verb] += returned is not None
            done["outputs"] += bool(returned and verb == "turn" and arguments[4])

        return note

    for verb in ("append", "turn", "rest"):
        watch_engine(store, verb, noting(verb))
    return done


@pytest.mark.parametrize("part", range(3))
def test_a_segment_is_the_same_word_for_word_whoever_did_it(two: tuple[Store, Store], part: int) -> None:
    random = Random(f"{os.environ[SEED]} {part}")
    in_c, workers = counted(two[0]), [Worker(store) for store in two]
    for n in range(400):
        chance, limit = random.random(), random.choice((1, 3, 64, 500))
        stay, rests, pipe = random.random() < 0.7, random.random() < 0.2, random.choice(PIPES)
        if chance < 0.4:
            parts = call(random)
            answers: list[object] = [store.appending.append(parts) for store in two]
        elif chance < 0.5:
            owner, ending = (n + 1) << 16 | 3, random.choice((None, Ending(9), Ending(9, timed_out=True)))
            answers = [die(store, pipe, limit, owner, ending) for store in two]
        elif chance < 0.55:
            answers = [worker.fail() for worker in workers]
        elif chance < 0.9:
            sent_on = call(random) if random.random() < 0.3 else []
            answers = [worker.turn(limit, sent_on, stay=stay, rests=rests) for worker in workers]
        elif chance < 0.95:
            answers = [worker.stop() for worker in workers]
        else:
            answers = [serve(store, pipe, limit) for store in two]
        assert answers[0] == answers[1]
        if n % 25 == 0:
            assert_same(two)
    assert_same(two)
    assert in_c["append"] > 20
    assert in_c["turn"] > 20
    assert in_c["rest"] > 5
    assert in_c["outputs"] > 5
    for store in two:
        store.waiting.note_deaths()
        assert store.waiting.find_work(frozenset()) is None
        assert fsck(store.segment) == []


def assert_same(two: tuple[Store, Store]) -> None:
    left, right = (stands_in(store.segment) for store in two)
    for what, its in left.items():
        assert its == right[what], what


def test_the_frequent_case_is_done_in_c(two: tuple[Store, Store]) -> None:
    store, _ = two
    assert store.appending.append([(pipe, [b"first"]) for pipe in set(PIPES)])  # the tubes are made in Python
    in_c = counted(store)

    assert store.appending.append([(pipe, [b"second", b"third"]) for pipe in set(PIPES)])
    assert store.appending.append([(PIPES[0], [b"fourth"])])

    assert in_c["append"] == 2
    assert store.reading.read(PIPES[0], 9).messages == [b"first", b"second", b"third", b"fourth"]


def test_a_call_to_new_threads_is_stored_in_c_once_their_tubes_are_made(two: tuple[Store, Store]) -> None:
    store, _ = two
    assert store.appending.append([("m/H/old/0", [b"first"])])  # what is counted of the handler has its place
    in_c, many = counted(store), [f"m/H/new{number}/0" for number in range(9)]

    assert store.appending.append([(pipe, [b"first", b"second"]) for pipe in many])
    assert store.appending.append([("m/H/old/1", [b"urgent"])])

    assert in_c["append"] == 2
    assert [store.reading.read(pipe, 9).messages for pipe in many] == [[b"first", b"second"]] * len(many)


@pytest.mark.parametrize(
    "what",
    [
        lambda store: store.pausing.pause(Pause("m/H", 1, None, "a test")),
        lambda store: store.appending.append_absent([(PIPES[0], [b"equal"])]),
        lambda store: store.gate.shut(),
    ],
    ids=["paused", "equality", "shut"],
)
def test_what_is_special_is_left_to_python(two: tuple[Store, Store], what: Callable[[Store], object]) -> None:
    store, _ = two
    assert store.appending.append([(PIPES[0], [b"first"])])
    what(store)

    assert not store._parts.core.append([(PIPES[0], [b"second"])], at.GENERAL)


@pytest.mark.parametrize(
    "parts",
    [
        [("m/H/0/0", [b"one"]), ("m/H/0/0", [b"two"])],
        [("m/H/0/0", ["text"])],
        [("m/H/0/0", [bytearray(b"one")])],
        [["m/H/0/0", [b"one"]]],
        [("m/H/0/0",)],
        [(b"m/H/0/0", [b"one"])],
        [("m/H/0/0", iter([b"one"]))],
        [("m/H/0/0", Doubled([b"one"]))],
        [("m/H/unknown/0", [b"one"])],
        [("m/H/0/0", [b"x" * (600 << 10)])],
        [("m/H/0/0", [])],
        [],
        None,
    ],
    ids=range(13),
)
def test_what_is_odd_is_left_to_python(two: tuple[Store, Store], parts: list[Part]) -> None:
    store, _ = two
    assert store.appending.append([("m/H/0/0", [b"first"])])
    before = stands_in(store.segment)

    assert not store._parts.core.append(parts, at.GENERAL)

    assert stands_in(store.segment) == before


def test_a_store_that_is_closed_is_left_to_python(two: tuple[Store, Store]) -> None:
    store, _ = two
    assert store.appending.append([("m/H/0/0", [b"first"])])
    store._parts.core.close()

    assert not store._parts.core.append([("m/H/0/0", [b"second"])], at.GENERAL)
    assert store.appending.append([("m/H/0/0", [b"second"])])


def test_a_variable_says_which_engine_is_used() -> None:
    for engine in ("c", "python"):
        with using(engine):
            assert engine_name() == engine


@pytest.mark.parametrize("core", ["python"], indirect=True)
def test_a_test_that_runs_once_more_is_in_python_with_all_that_it_starts(core: None) -> None:
    assert engine_name() == "python"
    program = "from shardq.drivers.shared.engine import engine_name; print(engine_name())"
    assert run((sys.executable, "-c", program), capture_output=True, text=True).stdout == "python\n"


@pytest.mark.parametrize("engine", ["c", "python"])
def test_the_version_says_which_engine_is_used(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    with using(engine), pytest.raises(SystemExit, match="0"):
        new_parser().parse_args(["--version"])
    assert capsys.readouterr().out == f"shardq {__version__} (core: {engine})\n"


def test_the_version_refuses_an_engine_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with using("rust"), pytest.raises(SystemExit, match="2"):
        new_parser().parse_args(["--version"])
    assert VARIABLE in capsys.readouterr().err


def test_an_engine_that_is_none_is_refused() -> None:
    with using("rust"), pytest.raises(ConfigurationError, match=VARIABLE):
        engine_name()


def test_nothing_is_used_of_an_extension_that_was_compiled_from_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "WORDS_DIGEST", compiled.WORDS_DIGEST + 1)
    with using(""):
        assert engine_name() == "python"
        assert one_step.__wrapped__() is not compiled.one_step
    with using("c"), pytest.raises(ConfigurationError, match="from another version"):
        one_step.__wrapped__()


@pytest.mark.parametrize("field", [at.INTENT_THREAD, at.INTENT_PENDING])
def test_a_change_that_was_not_ended_is_mended_in_python_first(two: tuple[Store, Store], field: int) -> None:
    store, _ = two
    assert store.appending.append([(PIPES[0], [b"first"])])
    store.segment.words[field] = 1

    assert not store._parts.core.append([(PIPES[0], [b"second"])], at.GENERAL)

    assert store.segment.words[field] == 1
    assert store.appending.append([(PIPES[0], [b"second"])])
    assert store.segment.words[field] == 0
    assert store.reading.read(PIPES[0], 9).messages == [b"first", b"second"]
    assert fsck(store.segment) == []


def test_a_python_without_its_lock_does_all_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with using(""):
        assert engine_name() == "python"
    with using("c"), pytest.raises(ConfigurationError, match="no global lock"):
        engine_name()
