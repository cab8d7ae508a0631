"""`python -m examples.thumbnails PICTURES THUMBNAILS`: each folder in PICTURES is an album."""

from __future__ import annotations

import sys
from pathlib import Path

from examples.thumbnails.pictures import Picture, Row, Thumbnail, add, as_text, below, shrink
from shardq import Handler, Retry, Supervisor


class Shrink(Handler[Picture, Thumbnail]):
    """The pictures of an album are done one after the other, so that its index has them in their order."""

    route_by = "album"
    retry = Retry(max_attempts=2, backoff_s=0.0)

    def perform(self, *pictures: Picture) -> list[Thumbnail]:
        return [shrink(picture) for picture in pictures]


def main(source: Path, target: Path) -> None:
    table: dict[str, Row] = {}
    with (
        Supervisor(Shrink) as supervisor,
        supervisor.queue.map_sync(Shrink, below(source, target), outcomes=True) as results,
    ):
        for outcome in results:
            add(table, outcome.request.album, outcome.value)
            if outcome.error:
                print(f"{outcome.request.path}: {outcome.error}", file=sys.stderr)
    print(as_text(table), results.summary, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
