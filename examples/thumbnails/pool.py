"""The same with a `ProcessPoolExecutor`: `python -m examples.thumbnails.pool PICTURES THUMBNAILS`.

A pool knows no order, so each album is one task, and its results come when all of it is done. A worker that is killed
ends the program, with what the other workers had done.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from examples.thumbnails.pictures import Picture, Row, Thumbnail, add, as_text, below, shrink


def shrink_album(pictures: list[Picture]) -> list[tuple[Thumbnail | None, str, float]]:
    """For each picture its thumbnail, or what was wrong with it, and how long it took."""
    done: list[tuple[Thumbnail | None, str, float]] = []
    for picture in pictures:
        began_at = time.monotonic()
        try:
            thumbnail, wrong = shrink(picture), ""
        except Exception as error:
            thumbnail, wrong = None, f"{type(error).__name__}: {error}"
        done.append((thumbnail, wrong, time.monotonic() - began_at))
    return done


def main(source: Path, target: Path) -> None:
    table: dict[str, Row] = {}
    began_at, worked_s = time.monotonic(), 0.0
    albums = [list(its) for _, its in groupby(below(source, target), attrgetter("album"))]
    with ProcessPoolExecutor() as pool:
        for album, done in zip(albums, pool.map(shrink_album, albums), strict=True):
            for picture, (thumbnail, wrong, took_s) in zip(album, done, strict=True):
                worked_s += took_s
                add(table, picture.album, thumbnail)
                if wrong:
                    print(f"{picture.path}: {wrong}", file=sys.stderr)
    elapsed_s = time.monotonic() - began_at
    print(as_text(table), f"{worked_s:.2f} s of work in {elapsed_s:.2f} s", sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
