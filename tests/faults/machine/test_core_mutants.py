"""The kills at machine instructions are worth something: a core with a piece missing, or two in the wrong order, fails.

Each mutant is compiled, and used by a process of its own. A run tries a sample of them, `SHARDQ_FAULTS=all` all.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from shardq.shm.files.own_files import remove_files
from tests.faults.machine import fuzz
from tests.faults.machine.contest import contests
from tests.faults.machine.stepping import why_not
from tests.faults.machine.trials import at, cut_off, each_change
from tests.support.chance import sample_of_run
from tests.support.compiled_core import SOURCES, VARIABLE, build
from tests.support.engines import needs_c
from tests.support.lean import LeanProcess
from tests.support.programs import ROOT

pytestmark = [needs_c, pytest.mark.skipif(bool(why_not()), reason=why_not())]

#: Mutants that a sampled run tries.
SAMPLE = 1
#: In so many contests a spoilt guard has to be caught. Three were enough for each.
MOST_CONTESTS = 40


class Mutant(NamedTuple):
    """A source with a part replaced, the operation that is cut off after each change, and what is found wrong then."""

    name: str
    file: str
    old: str
    new: str
    operation: str
    shows: str


_COUNT = "    store(core, AT_STORES, count);\n"
_APPLY = (
    "    for (uint64_t entry = core->at.stores_word; count; count--, entry += 2) {\n"
    "        uint64_t word = load(core, entry);\n"
    "        if (word < core->at.total_bytes / AT_WORD) /* else another program wrote there meanwhile */\n"
    "            store(core, word, load(core, entry + 1));\n"
    "    }\n"
)
_NOTE_PLACE = "    store(core, core->at.stores_word + 2 * entry, word);\n"
_OWNER = "    store(core, core->at.extent_owners_word + extent->number, tube + 1);\n"
_LENT = "    store_byte(core, core->at.extent_map + extent->number, 1);\n"
_WRITE = "    if (!call_write(core, call))\n        return GENERAL_WAY;\n"
_COMMIT = "    journal_commit(core, call_note(core, call, 0));\n"
_NUMBER = "        store(core, its->word + AT_TUBE_NEXT_SEQUENCE, its->next_sequence);\n"
_OTHERS = (
    "        store(core, its->word + AT_TUBE_CANCELLED, 0);\n"
    "        store(core, its->word + AT_TUBE_INDEXED, 0);\n"
    "        store(core, its->word + AT_TUBE_TAIL, 0);\n"
)
_NUMBER_FIRST, _NUMBER_LAST = _NUMBER + _OTHERS, _OTHERS + _NUMBER
_SETTLE = "    settle(core, &its);\n"
_DECLARE_POP = "    journal_declare(core, place->thread);\n"
_DECLARE_CALL = (
    "    if (call->count == 1)\n"
    "        journal_declare(core, call->parts[0].place->thread);\n"
    "    else\n"
    "        call_keep(core, call);\n"
)
_COMMIT_TURN = "    journal_commit(core, stores);\n"
_DECLARE_OUTPUTS = "        call_keep(core, outputs);\n"

TWO = "append a call to two tubes"
SENDING = "turn with outputs to tubes that are there, beside a sleeper"
OF_THE_DEAD = "turn to the thread of the dead, who had 1 in hand, beside a sleeper"
MUTANTS = (
    Mutant("stores-without-a-count", "journal.c", _COUNT, "", TWO, "but 4 queued"),
    Mutant(
        "stores-before-their-count",
        "journal.c",
        _COUNT + _APPLY,
        _APPLY.replace("; count; count--,", ", left = count; left; left--,") + _COUNT,
        TWO,
        "but 6 queued",
    ),
    Mutant("places-not-noted", "journal.c", _NOTE_PLACE, "    (void)word;\n", TWO, "is damaged"),
    Mutant(
        "count-not-cleared",
        "journal.c",
        "    store(core, AT_STORES, 0);\n",
        "",
        "append, turn and append again",
        "commit under way",
    ),
    Mutant(
        "call-not-declared",
        "append.c",
        _DECLARE_CALL,
        "",
        "append to a tube that is empty",
        "lent True, used by -1",
    ),
    Mutant(
        "commit-before-the-records",
        "append.c",
        _WRITE + _COMMIT,
        _COMMIT + _WRITE,
        "append in place",
        "where there is no record",
    ),
    Mutant(
        "lent-before-it-has-an-owner",
        "extents.c",
        _OWNER + _LENT,
        _LENT + _OWNER,
        "append to a tube that is empty",
        "lent True, used by -1",
    ),
    Mutant(
        "emptied-before-its-number",
        "acknowledge.c",
        _NUMBER_FIRST,
        _NUMBER_LAST,
        "turn with the last batch",
        "ends before 0",
    ),
    Mutant("batch-not-declared", "acknowledge.c", _DECLARE_POP, "", "turn with the last batch", "commit under way"),
    Mutant(
        "outputs-behind-the-commit",
        "acknowledge.c",
        _COMMIT_TURN,
        "    journal_commit(core, 2);\n    if (outputs)\n        journal_commit(core, call_note(core, outputs, 0));\n",
        SENDING,
        "{'app/Job/2/0': [b'other']}",
    ),
    Mutant(
        "outputs-not-declared",
        "acknowledge.c",
        _DECLARE_OUTPUTS,
        "",
        SENDING,
        "lent to tube 2, used by -1",
    ),
    Mutant(
        "death-forgotten-before-it-counts",
        "deaths.c",
        "    journal_note(core, 0, word + AT_TUBE_HANDED, 0);\n",
        "    store(core, word + AT_TUBE_HANDED, 0);\n    journal_note(core, 0, word + AT_TUBE_HANDED, 0);\n",
        OF_THE_DEAD,
        "0 failures more",
    ),
    Mutant(
        "binding-ended-before-the-death-counts",
        "deaths.c",
        "    journal_note(core, 2, its->thread_word + AT_THREAD_OWNER, 0);\n",
        "    store(core, its->thread_word + AT_THREAD_OWNER, 0);\n"
        "    journal_note(core, 2, its->thread_word + AT_THREAD_OWNER, 0);\n",
        OF_THE_DEAD,
        "0 failures more",
    ),
    Mutant(
        "posted-before-cleared",
        "guard.c",
        "    store(core, AT_GUARD_OWNER, 0);\n    sem_post(core->semaphore);\n",
        "    sem_post(core->semaphore);\n    store(core, AT_GUARD_OWNER, 0);\n",
        "append in place",
        "a token is free, and an owner stands",
    ),
    Mutant(
        "not-settled",
        "acknowledge.c",
        _SETTLE,
        "    journal_clear(core);\n" + _SETTLE,
        "turn with the last batch",
        "nothing to handle at its head",
    ),
)


@pytest.mark.parametrize("mutant", sample_of_run(MUTANTS, SAMPLE), ids=lambda mutant: mutant.name)
def test_mutant_of_the_core_is_caught(
    mutant: Mutant, random: Random, tried: Callable[[str, int], None], lean: LeanProcess, tmp_path: Path
) -> None:
    library = spoilt(mutant, tmp_path / "spoilt")
    found = lean.call(cut_off, mutant.operation, each_change, random, tmp_path, library, mutant.shows)
    assert any(mutant.shows in problem for problem in found.failed), f"it passes for good: {found}"

    good = lean.call(cut_off, mutant.operation, at(found.last), random, tmp_path)
    assert not good.failed, f"the proof fails of what is good: {good.failed}"
    tried(f"mutant {mutant.name} of the core", 1)


#: What is found wrong is a pattern here.
GUARDS = (
    Mutant(
        "never-cleared", "guard.c", "    store(core, AT_GUARD_OWNER, 0);\n", "", "", "queued|tokens|held|Timeout|inside"
    ),
    Mutant(
        "entered-without-the-token",
        "guard.c",
        "    if (sem_trywait(core->semaphore) != 0) {\n",
        "    if (sem_trywait(core->semaphore) == 1) {\n",
        "",
        "queued",
    ),
    Mutant(
        "left-with-two-tokens",
        "guard.c",
        "    sem_post(core->semaphore);\n",
        "    sem_post(core->semaphore);\n    sem_post(core->semaphore);\n",
        "",
        "tokens",
    ),
    Mutant(
        "entered-unannounced",
        "guard.c",
        "    store(core, core->attempt_word, core->sequence << 16 | GUARD_TRYING);\n",
        "",
        "",
        # Another process takes the token for lost: either both are inside, and spoil what the other one does, or a
        # token is left over.
        "queued|tokens|are not",
    ),
)


@pytest.mark.parametrize("mutant", sample_of_run(GUARDS, SAMPLE), ids=lambda mutant: mutant.name)
def test_mutant_of_the_guard_is_caught_in_some_order_of_instructions(
    mutant: Mutant, tried: Callable[[str, int], None], lean: LeanProcess, tmp_path: Path
) -> None:
    found = lean.call(contests, range(MOST_CONTESTS), tmp_path, spoilt(mutant, tmp_path / "spoilt"))
    assert any(re.search(mutant.shows, problem) for problem in found), f"it passes for good: {found}"
    tried(f"mutant {mutant.name} of the core", 1)


#: Without these, a damaged segment leads the core out of its mapping.
BOUNDS = (
    Mutant(
        "tubes-unbounded",
        "claims.c",
        "        if (next > core->at.tubes || found->count == MOST_TUBES)\n            return false;\n",
        "",
        "",
        "",
    ),
    Mutant(
        "records-unbounded",
        "records.c",
        "    return found->address + record_size(found->count, found->payload_bytes, found->trace_bytes) <= end;",
        "    (void)end;\n    return true;",
        "",
        "",
    ),
    Mutant(
        "extents-unbounded",
        "extents.c",
        "        if (index >= its->count)\n            return false;\n",
        "",
        "",
        "",
    ),
)
#: Of the damaged segments, the first, and how many there are: each mutant dies of one of them.
DAMAGED = ("7000", "300")


@pytest.mark.parametrize("mutant", sample_of_run(BOUNDS, SAMPLE), ids=lambda mutant: mutant.name)
def test_mutant_without_a_bound_dies_of_a_damaged_segment(
    mutant: Mutant, tried: Callable[[str, int], None], tmp_path: Path
) -> None:
    environment = {**os.environ, VARIABLE: str(spoilt(mutant, tmp_path / "spoilt"))}
    program = (sys.executable, "-m", fuzz.__name__, *DAMAGED)

    with subprocess.Popen(program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate()
    remove_files(f"fuzz-{process.pid}")  # that of the segment at which it died

    assert process.returncode == -signal.SIGSEGV, f"it passes for good: {said[-300:]}"
    tried(f"mutant {mutant.name} of the core", 1)


def test_each_mutant_is_of_the_source() -> None:
    for mutant in (*MUTANTS, *GUARDS, *BOUNDS):
        assert (SOURCES / mutant.file).read_text().count(mutant.old) == 1, mutant.name


def spoilt(mutant: Mutant, directory: Path) -> Path:
    """The mutant, compiled."""
    shutil.copytree(SOURCES, directory, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    source = directory / mutant.file
    source.write_text(source.read_text().replace(mutant.old, mutant.new))
    return build(directory, directory)
