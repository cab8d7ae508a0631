"""Is the segment whole?"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from shardq.shm.checking.image import image_of
from shardq.shm.checking.look import Moment
from shardq.shm.checking.whole import wrongs
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.verbs.recovery import Recovery


class Checking:
    """Reads a whole segment, also while processes are at work in it."""

    def __init__(
        self, segment: Segment, claims: Claims, recovery: Recovery, section: AbstractContextManager[None]
    ) -> None:
        self._segment = segment
        self._claims = claims
        self._recovery = recovery
        self._section = section

    def wrongs(self) -> list[str]:
        """What is wrong with the segment, a line each. The guard is held while its memory is copied, for about 0.7 s a
        gigabyte. What dead processes left is mended before. Raises `SegmentError` where there is no memory for that.
        """
        with self._section:
            self._recovery.adopt_orphans()
            since_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self._claims.end_pauses()
            image = image_of(self._segment)
            until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        try:
            # A worker that dies from now on was alive then.
            return wrongs(image, Moment(since_ns, until_ns, lambda pid: True))
        finally:
            image.close()
