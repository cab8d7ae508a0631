"""One contestant of one round, in a process of its own, which prints its figures:

python -m bench.harness.contestant MODULE:FUNCTION SIZE ARGUMENTS
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

from bench.harness.scenario import Contestant
from bench.harness.size import SIZES, Size

Figures = dict[str, float]

ROOT = Path(__file__).parents[2]


def figures_of(contestant: Contestant, size: Size) -> Figures:
    """Run a contestant. Raises `SystemExit` where it fails; why stands on standard error."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        (
            *(sys.executable, "-P", "-m", "bench.harness.contestant"),
            *(contestant.function, size.name, json.dumps(contestant.arguments)),
        ),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{contestant.name} ({contestant.function}) failed with status {done.returncode}")
    figures: Figures = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    print(json.dumps(resolve_name(sys.argv[1])(SIZES[sys.argv[2]], **json.loads(sys.argv[3]))))
