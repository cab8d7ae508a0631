"""`python -m examples.sweep`: the best rules, with a progress bar on the way."""

from __future__ import annotations

from tqdm import tqdm

from examples.sweep.model import best, grid, score
from shardq import Supervisor
from shardq.settings import SupervisorSettings


def main() -> None:
    rules = grid(range(5, 50, 5), range(20, 200, 20))
    # Imported before the workers are forked: so all of them share the prices.
    settings = SupervisorSettings(preload="examples.sweep.model")
    with Supervisor(settings=settings) as supervisor, supervisor.map_sync(score, rules, ordered=False) as results:
        scores = list(tqdm(results, total=len(rules)))
    print(best(scores), results.summary, sep="\n")


if __name__ == "__main__":
    main()
