"""One contestant of one run, in a process of its own: `python -m bench.contestant MODULE:FUNCTION` prints figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

_ROOT = Path(__file__).parent.parent


def figures_of(function: str) -> dict[str, float]:
    """Run a contestant. Raises `SystemExit` where it fails; why stands on standard error."""
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        (sys.executable, "-P", "-m", "bench.contestant", function),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{function} failed with status {done.returncode}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    print(json.dumps(resolve_name(sys.argv[1])()))
