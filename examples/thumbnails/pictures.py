"""Pictures in albums, and how one is made small. Knows nothing of queues or pools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image

#: Longest side of a thumbnail, in pixels.
SIDE = 128
#: In each folder of thumbnails, a file with a line for each of them, in the order of the album.
INDEX = "index.txt"


class Picture(NamedTuple):
    """A picture, and the folder that the thumbnails of its album go to."""

    path: Path
    album: str
    folder: Path


class Thumbnail(NamedTuple):
    """What became of a picture, in bytes."""

    before_bytes: int
    after_bytes: int


class Row(NamedTuple):
    """A line of the table: what an album came to."""

    pictures: int = 0
    broken: int = 0
    before_bytes: int = 0
    after_bytes: int = 0


def below(source: Path, target: Path) -> list[Picture]:
    """The pictures below a folder, whose folders are the albums, in the order of their names."""
    paths = sorted(path for path in source.glob("*/*") if path.is_file())
    return [Picture(path, path.parent.name, target / path.parent.name) for path in paths]


def shrink(picture: Picture) -> Thumbnail:
    """Make a thumbnail and note it in the index of its album. To do that twice is as good as once. Raises what Pillow
    raises for a file that is no picture.
    """
    thumbnail = picture.folder / f"{picture.path.stem}.jpg"
    picture.folder.mkdir(parents=True, exist_ok=True)
    with Image.open(picture.path) as image:
        image.thumbnail((SIDE, SIDE))
        unfinished = thumbnail.with_suffix(".new")
        image.convert("RGB").save(unfinished, "JPEG")
    os.replace(unfinished, thumbnail)
    _note(picture.folder / INDEX, thumbnail.name)
    return Thumbnail(picture.path.stat().st_size, thumbnail.stat().st_size)


def _note(index: Path, name: str) -> None:
    with index.open("a+", encoding="utf-8") as file:
        file.seek(0)
        if f"{name}\n" not in file:
            file.write(f"{name}\n")


def add(table: dict[str, Row], album: str, thumbnail: Thumbnail | None) -> None:
    """Add a picture to the row of its album; without a thumbnail it is broken."""
    row = table.get(album, Row())
    if thumbnail is None:
        table[album] = row._replace(pictures=row.pictures + 1, broken=row.broken + 1)
        return
    before_bytes, after_bytes = row.before_bytes + thumbnail.before_bytes, row.after_bytes + thumbnail.after_bytes
    table[album] = Row(row.pictures + 1, row.broken, before_bytes, after_bytes)


def as_text(table: dict[str, Row]) -> str:
    lines = [f"{'album':<20}{'pictures':>10}{'broken':>10}{'before':>14}{'after':>14}"]
    for album, row in sorted(table.items()):
        lines.append(f"{album:<20}{row.pictures:>10}{row.broken:>10}{row.before_bytes:>14,}{row.after_bytes:>14,}")
    return "\n".join(lines)
