"""Pictures to try it with: `python -m examples.thumbnails.samples PICTURES [ALBUMS] [PICTURES_IN_EACH] [SIDE]`."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image


def make(folder: Path, albums: int = 8, pictures: int = 50, side: int = 1000) -> None:
    """Make albums of square pictures, each of other colours."""
    for album in range(albums):
        (folder / f"album-{album:02}").mkdir(parents=True)
        for number in range(pictures):
            image = Image.linear_gradient("L").resize((side, side)).rotate(7 * number)
            colours = Image.merge("RGB", (image, image.rotate(90), Image.new("L", image.size, (16 * album) % 256)))
            colours.save(folder / f"album-{album:02}" / f"{number:04}.png", compress_level=1)


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
