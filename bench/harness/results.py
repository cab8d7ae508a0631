"""Results files: the figures of all rounds, and where, when and how they were taken."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import shardq
from bench.harness.contestant import ROOT, Figures
from bench.harness.rounds import Runs
from bench.harness.size import Size
from bench.load.server import version as server_version
from shardq.system.cores import usable_cores

#: What the page and the table in the README are made from.
PUBLISHED = ROOT / "bench" / "results" / "published.json"
#: Raised where the meaning of a file changes.
FORMAT = 1
#: What takes more than this share of the cores before a run is other work.
_IDLE = 0.5
_PACKAGES = (
    *("msgspec", "uvloop", "posix_ipc", "redis", "hiredis"),
    *("sharded-queue", "joblib", "faster-fifo", "localqueue", "huey"),
)
#: Digits of a figure that a file keeps.
_DIGITS = 6


class Results(NamedTuple):
    taken: dict[str, Any]
    """When, with which command, of which commit, in which size, in how many rounds, and the load of the machine before
    (its average over a minute, in processes that want a core).
    """
    machine: dict[str, Any]
    versions: dict[str, str]
    scenarios: dict[str, Runs]


def without_figures(size: Size) -> Results:
    """What is known before the first round: the results file itself may be part of the commit that is named."""
    taken = {
        "time": datetime.now(UTC).isoformat(timespec="minutes"),
        "command": shlex.join(["scripts/bench", *sys.argv[1:]]),
        "commit": _git("describe", "--always", "--dirty", "--abbrev=10"),
        "size": size.name,
        "load": round(os.getloadavg()[0], 1),
    }
    machine = {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    own = {"shardq": shardq.__version__, "python": platform.python_version()}
    versions = {**own, **_versions(), "server": server_version()}
    return Results(taken, machine, versions, {})


def with_figures(results: Results, scenarios: dict[str, Runs], rounds: int) -> Results:
    """The same with what so many rounds gave."""
    return results._replace(taken={**results.taken, "rounds": rounds}, scenarios=scenarios)


def written(results: Results, path: Path) -> None:
    """Store the results, with as many digits as count."""
    rounded = {
        scenario: {contestant: [_rounded(figures) for figures in own] for contestant, own in runs.items()}
        for scenario, runs in results.scenarios.items()
    }
    content = {"format": FORMAT, **results._replace(scenarios=rounded)._asdict()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _rounded(figures: Figures | None) -> Figures | None:
    return figures and {name: float(f"{value:.{_DIGITS}g}") for name, value in figures.items()}


def busy(results: Results) -> bool:
    """Whether the machine had other work when the run began."""
    return bool(results.taken["load"] > _IDLE * results.machine["cores"])


def read(path: Path) -> Results:
    """Raises `ValueError` for a file of another format."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is no results file of format {FORMAT}: take it anew with scripts/bench --json {path}")
    return Results(**content)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
