"""A case runs on one of the further drivers, whichever the seed draws, or on what is asked for. A case of a worker runs
over one storage.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache

from tests.support.chance import SEED
from tests.support.drivers import DRIVERS, ONE_OF_EACH
from tests.support.programs import ROOT

#: A small file of contracts.
FACTS = "tests/contracts/test_facts.py"


#: A small file of workers.
FAIR = "tests/system/test_fairness.py"


@cache
def listed(*words: str, seed: int = 1, faults: str = "") -> str:
    """What a run with these arguments runs."""
    environment = os.environ | {SEED: str(seed), "SHARDQ_FAULTS": faults}
    command = (sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    return subprocess.run(
        (*command, *words), cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout


def drivers(*words: str, seed: int = 1, faults: str = "") -> dict[str, list[str]]:
    """The drivers on which a run with these arguments has the cases of `FACTS`, by the case."""
    found = defaultdict[str, list[str]](list)
    said = listed(*words, seed=seed, faults=faults)
    for case, driver in re.findall(r"::(\w+)\[(?:asyncio-|uvloop-)?(\w[^\]]*)\]$", said, re.MULTILINE):
        found[case].append(driver)
    return found


def further(names: list[str]) -> list[str]:
    return [name for name in names if "," in name]


def test_a_case_has_one_driver_of_each_technology_and_one_further_one() -> None:
    for names in drivers(FACTS).values():
        assert {name for name in names if "," not in name} == {driver.name for driver in ONE_OF_EACH}
        assert len(further(names)) == 1


def test_another_seed_draws_others() -> None:
    assert drivers(FACTS, seed=2) != drivers(FACTS)


def test_all_drivers_are_those_of_a_run_of_everything() -> None:
    for names in drivers(FACTS, faults="all").values():
        assert set(names) == {driver.name for driver in DRIVERS}


def test_a_driver_that_is_asked_for_by_its_name_is_there() -> None:
    assert {str(names) for names in drivers(FACTS, "-k", "cluster").values()} == {"['redis, cluster']"}


def storages(*words: str, faults: str = "") -> dict[tuple[str, str], set[str]]:
    """Over what each case of `FAIR` runs that could run over all: by the function, and by its other parameters."""
    found = defaultdict[tuple[str, str], set[str]](set)
    for function, storage, others in re.findall(
        r"::(\w+)\[\w+-(runtime|shared|redis)\b(.*)\]$", listed(*words, faults=faults), re.MULTILINE
    ):
        found[function, others].add(storage)
    return found


def test_of_the_cases_of_a_worker_every_other_one_runs_over_one_storage_and_they_take_turns() -> None:
    drawn, everything = storages(FAIR), storages(FAIR, faults="all")
    assert max(map(len, everything.values())) == len(ONE_OF_EACH)
    assert {len(names) for names in drawn.values()} == {1}
    assert set[str]().union(*drawn.values()) == {driver.name for driver in ONE_OF_EACH}
    every, some = (Counter(function for function, _ in cases) for cases in (everything, drawn))
    assert some == {function: (count + 1) // 2 for function, count in every.items()}


def test_a_storage_that_is_asked_for_by_its_name_is_there() -> None:
    asked, everything = storages(FAIR, "-k", "redis"), storages(FAIR, faults="all")
    assert set[str]().union(*asked.values()) == {"redis"}
    assert asked.keys() == {case for case, names in everything.items() if "redis" in names}
