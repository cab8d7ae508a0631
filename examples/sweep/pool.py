"""The same with a `ProcessPoolExecutor`: `python -m examples.sweep.pool`.

All rules are pickled and queued before the first one is done. The bar does not move while the first one of `map` takes
long, so results are taken as they are done. A worker that is killed ends the sweep, and its results are lost.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from tqdm import tqdm

from examples.sweep.model import Rule, Score, best, grid, score


def timed(rule: Rule) -> tuple[Score, float]:
    began_at = time.monotonic()
    return score(rule), time.monotonic() - began_at


def main() -> None:
    rules = grid(range(5, 50, 5), range(20, 200, 20))
    began_at, worked_s, scores = time.monotonic(), 0.0, []
    # Forked, so that all workers share the prices.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("fork")) as pool:
        futures = [pool.submit(timed, rule) for rule in rules]
        for future in tqdm(as_completed(futures), total=len(futures)):
            found, took_s = future.result()
            worked_s += took_s
            scores.append(found)
    elapsed_s = time.monotonic() - began_at
    print(best(scores), f"{worked_s:.2f} s of work in {elapsed_s:.2f} s", sep="\n")


if __name__ == "__main__":
    main()
