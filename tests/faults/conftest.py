"""How much of the faults is tried: a sample by a printed seed, or everything.

`SHARDQ_FAULTS=all` tries every step. `SHARDQ_FAULTS_SEED` repeats a run, `SHARDQ_FAULTS_SECONDS` lengthens the storms.
`SHARDQ_FAULTS_KILLS` is how many workers of a pipeline are killed, 25 by default, 20,000 where all is tried: two
processors that do little else kill about 40 a second.
`SHARDQ_FAULTS_CORE_KILLS` is how many processes are killed of a family that mixes C and Python, 100 by default, 100,000
where all is tried: two processors that do little else kill about 50 a second, and two such runs 100.
`SHARDQ_FAULTS_COUNTED` is how many processes are killed while they count what they do, 25 by default.
`SHARDQ_FAULTS_DAMAGED` is how many damaged segments the core in C meets, 30 by default, 3,000 where all is tried.
`SHARDQ_FAULTS_REQUESTS` lengthens the storm over a server until so many requests were accepted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import pytest

from shardq.drivers.shared.engine import VARIABLE, engine_name
from tests.support.chance import EVERYTHING, SEED, add_figure

#: How long a test may take that tries every step, seconds: on a busy machine some of them take minutes.
_EVERYTHING_S = 3600
_OF_FAMILIES = [f"test_{kind}_storm.py" for kind in ("family", "metrics", "moving", "pipeline", "tallies")]
KILLS = int(os.environ.get("SHARDQ_FAULTS_KILLS", "20000" if EVERYTHING else "25"))
DAMAGED = int(os.environ.get("SHARDQ_FAULTS_DAMAGED", "3000" if EVERYTHING else "30"))
CORE_KILLS = int(os.environ.get("SHARDQ_FAULTS_CORE_KILLS", "100000" if EVERYTHING else "100"))
COUNTED = int(os.environ.get("SHARDQ_FAULTS_COUNTED", "25"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The interleavings last: they leave a large heap, of which every fork after them would copy the map. And time
    for all that try everything.
    """
    items.sort(key=lambda item: item.path.name == "test_interleavings.py")
    for item in items if EVERYTHING else ():
        item.add_marker(pytest.mark.timeout(_EVERYTHING_S))


@pytest.fixture(autouse=True)
def _engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python does the frequent case, too: it is cut off at lines of Python here. In a storm over a whole family, the
    seed draws what does it, unless the environment says so. Storms over a bare segment mix both kinds of processes.
    """
    engine = "python"
    if request.path.name in _OF_FAMILIES:
        drawn = Random(f"{os.environ[SEED]} engine {request.node.name}").choice([engine_name(), "python"])
        engine = os.environ.get(VARIABLE) or drawn
        print(f"{VARIABLE}={engine}")
    monkeypatch.setenv(VARIABLE, engine)


@pytest.fixture
def random(request: pytest.FixtureRequest) -> Random:
    """Chances that depend on the seed and the test alone, not on which tests ran before."""
    seed = os.environ[SEED]
    print(f"{SEED}={seed}")
    return Random(f"{seed} {request.node.name}")


@pytest.fixture
def everything() -> bool:
    """Whether every step is to be tried, however long it takes."""
    return EVERYTHING


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """Adds to the figures of the run's last line."""
    return lambda name, count: add_figure(request.node, name, count)
