"""Handlers of a shop, for pictures of the page."""

from __future__ import annotations

import time
from typing import NamedTuple

from shardq import Handler, Retry


class Photo(NamedTuple):
    path: str
    user: str


class Resize(Handler[Photo]):
    retry = Retry(max_attempts=1)
    batch_size = 8
    route_by = "user"

    def perform(self, *photos: Photo) -> None:
        for photo in self.track(photos):
            time.sleep(0.02)
            if photo.path.endswith("77.jpg"):
                raise ValueError(f"{photo.path} is no picture")
            if photo.path.endswith("41.jpg"):
                raise TimeoutError("the store of pictures does not answer")


class Notify(Handler[Photo]):
    route_by = "user"

    def perform(self, *photos: Photo) -> None:
        time.sleep(0.01)


class Gone(Handler[Photo]):
    """No family serves it."""

    route_by = "user"

    def perform(self, *photos: Photo) -> None: ...
