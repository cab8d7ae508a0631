"""Run the census twice, in one plain loop and through shardq, and compare: `python -m examples.census --workers 2`.

What is timed: for the loop, measuring and folding. For shardq, everything from the creation of the segment to the
finished table: registering, the start of the supervisor and its workers, counting, folding, their end.

Beside each time stands the work of the processors in it. Where other programs keep these busy, the system may give all
processes of one session or one container together no more than one process alone: then the times compare the shares of
the processors, and only the work compares the loop and shardq.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from examples.census.files import read_once, spread, standard_library
from examples.census.handlers import JSON_NAME, OUT_VARIABLE, RESULTS_NAME, TEXT_NAME, Count, CountRequest
from examples.census.plain import plain_loop
from examples.census.spent import comparison, timed
from examples.census.table import Table, as_text, differences, from_json
from shardq import Queue
from shardq.drivers import SharedStorage

#: A standard library with fewer files is too small for the times to mean anything.
FEWEST_FILES = 500

#: Packages in the printed table; the files have all of them.
PRINTED_PACKAGES = 15

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 128 + signal.SIGINT

_ROOT = Path(__file__).resolve().parents[2]


class CensusError(Exception):
    """The census cannot be taken; the message says why."""


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _leave)
    try:
        return _compare(_requests(options.limit), options.workers, options.out.resolve())
    except CensusError as error:
        print(f"census: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("census: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.census", description="Count what the standard library is made of, twice, and compare."
    )
    parser.add_argument("--workers", type=_positive, default=2, help="worker processes (default: 2)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/census"),
        help="directory for the tables, used by one census at a time (default: ./out/census)",
    )
    parser.add_argument("--limit", type=_positive, help="count only so many files, from all over the library")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _leave(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal_number)


def _requests(limit: int | None) -> list[CountRequest]:
    requests = standard_library()
    if len(requests) < FEWEST_FILES:
        raise CensusError(
            f"the standard library of {sys.executable} has only {len(requests)} source files, the census needs "
            f"{FEWEST_FILES}: use an interpreter that was installed with its library's sources"
        )
    return spread(requests, limit)


def _compare(requests: list[CountRequest], workers: int, out: Path) -> int:
    out.mkdir(parents=True, exist_ok=True)
    for name in (RESULTS_NAME, JSON_NAME, TEXT_NAME):
        (out / name).unlink(missing_ok=True)
    read_once(requests)

    _say(f"counting {len(requests)} files of the standard library in one plain loop")
    expected, plain = timed(lambda: plain_loop(requests))

    _say(f"counting them through shardq, workers: {workers}")
    found, shardq = timed(lambda: _through_shardq(requests, workers, out))

    _say(f"\n{as_text(found, PRINTED_PACKAGES)}\nall packages: {out / TEXT_NAME} and {out / JSON_NAME}")
    _say("\n".join(comparison(plain, shardq, workers, len(os.sched_getaffinity(0)))))
    return _verdict(found, expected)


def _through_shardq(requests: list[CountRequest], workers: int, out: Path) -> Table:
    name = f"census-{os.getpid()}"
    storage = SharedStorage.create(name)
    try:
        Queue(storage).register_sync(Count, *requests)
        # Else the supervisor would leave the segment to this process.
        storage.detach()
        _supervise(name, workers, out)
    finally:
        # After a finished drain the supervisor has removed the segment; this is for all other ends.
        storage.destroy()
    return from_json((out / JSON_NAME).read_text(encoding="utf-8"))


def _supervise(name: str, workers: int, out: Path) -> None:
    """Serve the segment in a supervisor until everything in it is done."""
    command = [sys.executable, "-m", "shardq.supervise", "examples.census.handlers"]
    command += ["--url", f"shm://{name}", "--workers", str(workers), "--drain"]
    # A process group of its own: Ctrl-C reaches this process alone, which then stops the family in order.
    supervisor = subprocess.Popen(command, cwd=_ROOT, env=os.environ | {OUT_VARIABLE: str(out)}, process_group=0)
    try:
        status = supervisor.wait()
    except BaseException:
        supervisor.terminate()
        supervisor.wait()
        raise
    if status != 0:
        raise CensusError(f"the supervisor ended with status {status}")


def _verdict(found: Table, expected: Table) -> int:
    different = differences(found, expected)
    if not different:
        _say("the two tables are equal")
        return EXIT_OK
    print("\n".join(["census: the two tables differ, shardq's first", *different]), file=sys.stderr)
    return EXIT_FAILED


def _say(text: str) -> None:
    # Flushed, because the supervisor writes to the same stream.
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
