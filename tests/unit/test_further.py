"""A case runs on one of the further drivers of a technology, whichever the seed draws, or on what is asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache

from tests.support.chance import SEED
from tests.support.drivers import DRIVERS, ONE_OF_EACH
from tests.support.programs import ROOT

#: A small file of contracts.
FACTS = "tests/contracts/test_facts.py"


@cache
def drivers(*words: str, seed: int = 1, faults: str = "") -> dict[str, list[str]]:
    """The drivers on which a run with these arguments has the cases of `FACTS`, by the case and the technology."""
    environment = os.environ | {SEED: str(seed), "SHARDQ_FAULTS": faults}
    command = (sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    done = subprocess.run((*command, *words), cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found = defaultdict[str, list[str]](list)
    for case, driver in re.findall(r"::(\w+)\[(?:asyncio-|uvloop-)?(\w[^\]]*)\]$", done.stdout, re.MULTILINE):
        found[f"{case} {driver.partition(',')[0]}"].append(driver)
    return found


def further(names: list[str]) -> list[str]:
    return [name for name in names if "," in name]


def test_a_case_has_one_driver_of_each_technology_and_one_further_one() -> None:
    found = drivers(FACTS)
    assert {case.split()[1] for case in found} == {driver.name for driver in ONE_OF_EACH}
    for case, names in found.items():
        technology = case.split()[1]
        has_further = any(driver.name.startswith(f"{technology},") for driver in DRIVERS)
        assert technology in names
        assert len(further(names)) == has_further


def test_another_seed_draws_others() -> None:
    assert drivers(FACTS, seed=2) != drivers(FACTS)


def test_all_drivers_are_those_of_a_run_of_everything() -> None:
    found = drivers(FACTS, faults="all")
    assert {name for names in found.values() for name in names} == {driver.name for driver in DRIVERS}
    assert {len(names) for case, names in found.items() if case.endswith(" redis")} == {4}


def test_a_driver_that_is_asked_for_by_its_name_is_there() -> None:
    assert {str(names) for names in drivers(FACTS, "-k", "cluster").values()} == {"['redis, cluster']"}
