"""One contestant of one round, in a process of its own, which prints its figures:

python -m bench.harness.contestant MODULE:FUNCTION SIZE ARGUMENTS
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name

from bench.harness.scenario import Contestant
from bench.harness.size import SIZES, Size

Figures = dict[str, float]

ROOT = Path(__file__).parents[2]
#: A contestant that is not done after so long hangs. The longest take some seconds.
LIMIT_S = 180.0
#: How long it has then to remove what it made, before it and all its processes are killed.
_GRACE_S = 10.0


class ContestantFailed(Exception):
    """It raised an error, which stands on standard error, or did not end in time."""


def figures_of(contestant: Contestant, size: Size, limit_s: float = LIMIT_S) -> Figures:
    """Run a contestant. Raises `ContestantFailed` where it gives no figures."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    running = subprocess.Popen(
        (
            *(sys.executable, "-P", "-m", "bench.harness.contestant"),
            *(contestant.function, size.name, json.dumps(contestant.arguments)),
        ),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        process_group=0,
    )
    output = _output(running, limit_s)
    if running.returncode:
        raise ContestantFailed(f"{contestant.function} ended with status {running.returncode}")
    try:
        figures: Figures = json.loads(output)
    except ValueError:
        raise ContestantFailed(f"{contestant.function} printed no figures but {output[:200]!r}") from None
    return figures


def _output(running: subprocess.Popen[bytes], limit_s: float) -> bytes:
    """All that it prints. Where it has to be ended, its children are ended with it."""
    try:
        return running.communicate(timeout=limit_s)[0]
    except subprocess.TimeoutExpired:
        raise ContestantFailed(f"it was not done after {limit_s:g} seconds") from None
    finally:
        if running.returncode is None:
            _end(running)


def _end(running: subprocess.Popen[bytes]) -> None:
    running.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        running.wait(_GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


if __name__ == "__main__":
    print(json.dumps(resolve_name(sys.argv[1])(SIZES[sys.argv[2]], **json.loads(sys.argv[3]))))
