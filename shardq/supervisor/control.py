"""The line between an embedding application and its supervisor: a socket with one JSON object a line, both ways.

The supervisor tells `{"serving": URL}`, `{"standby": URL}` while another one serves, or `{"error": TEXT, "code": N}`
before it gives up. The application asks for `{"workers": N}`. Its end of file is its death, or its wish to end.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from shardq.shm.pipes import write


class Control:
    """One end of the line. `descriptor` is non-blocking and can be waited on."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        os.set_blocking(descriptor, False)
        self._unfinished = b""
        self.ended = False
        """Whether the other end is closed."""
        self.workers: int | None = None
        """How many workers the application asked for last."""

    def tell(self, **message: Any) -> None:
        """Send a message. Nobody there any more is fine."""
        with suppress(BrokenPipeError, ConnectionResetError):
            write(self.descriptor, json.dumps(message).encode() + b"\n")

    def heard(self) -> list[dict[str, Any]]:
        """Messages that arrived since the last call; sets `ended` at end of file."""
        try:
            received = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            received = b""
        self.ended = not received
        *lines, self._unfinished = (self._unfinished + received).split(b"\n")
        messages = [json.loads(line) for line in lines]
        for message in messages:
            self.workers = message.get("workers", self.workers)
        return messages

    def close(self) -> None:
        os.close(self.descriptor)
