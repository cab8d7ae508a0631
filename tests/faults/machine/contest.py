"""Several processes append by the core in C at once. A draw says after which instructions another one goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.faults.kit.scene import Contents, Scene, check_usable, check_whole, run, scene
from tests.faults.machine.sections import marks, teach
from tests.faults.machine.stepping import Stepper
from tests.support.compiled_core import use
from tests.support.engines import using

PIPES = ("app/Job/1/0", "app/Job/2/0")
#: Processes of a contest, calls that each of them makes, and how many are killed at most.
PROCESSES, CALLS, KILLS = 3, 4, 1


def contests(seeds: Sequence[int], directory: Path, library: Path | None = None) -> list[str]:
    """What is wrong after contests with these seeds, until something is. `library`: of another core than the installed
    one.
    """
    if library:
        use(library)
    stepper = Stepper.build(directory)
    with using("c"):
        for seed in seeds:
            try:
                _contest(stepper, seed)
            except Exception as problem:
                return [f"seed {seed}: {type(problem).__name__}: {problem}"]
    return []


def _contest(stepper: Stepper, seed: int) -> None:
    with scene() as there:
        for pipe in PIPES:
            assert there.append(b"first", pipe=pipe)
        acts = [lambda number=number: _append(there, number) for number in range(PROCESSES)]
        done = stepper.interleave(marks(), acts, seed, KILLS)
        check_whole(there.store)
        _check(there.contents(), done)
        check_usable(there, ("app/Job/1", "app/Job/2"))


def _append(there: Scene, number: int) -> int:
    """How many calls were made: all."""
    teach(there.store)
    for call in range(CALLS):
        assert run(there.storage.append([(pipe, [b"%d %d" % (number, call)]) for pipe in PIPES]))
    return CALLS


def _check(contents: Contents, done: Sequence[int | None]) -> None:
    """Each call is in both tubes or in none, in its order, and all are that were made."""
    one, other = (contents[pipe][1:] for pipe in PIPES)
    assert one == other, f"{one} are not {other}"
    for number, count in enumerate(done):
        its = [message for message in one if message.startswith(b"%d " % number)]
        assert its == [b"%d %d" % (number, call) for call in range(len(its))], f"{its} of process {number}"
        assert count in (None, len(its)), f"process {number} made {count} calls, and {len(its)} are there"
