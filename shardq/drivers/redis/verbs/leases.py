"""How long claims live: until a time, or as long as this process has them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from shardq.drivers.redis.connections.tries import PATIENCE_S
from shardq.drivers.redis.plainly import plainly
from shardq.drivers.redis.servers.server import Server, answers
from shardq.drivers.redis.verbs.presence import OFTEN
from shardq.errors import ShardqError
from shardq.settings import LockSettings

#: A thread, the token of the claim on it, and how many seconds the claim is to live from now on (None: as it does).
Lease = tuple[str, int, float | None]
#: How long a claim lives that is not renewed, where no setting says.
LEASE_S = 30.0
#: How many claims a script renews at most: a process has one for each result that it waits for.
_AT_ONCE = 256
#: Seconds until leases are renewed again that could not be renewed.
_AGAIN_S = 1.0


def lease_of(settings: LockSettings) -> float:
    """For how many seconds a claim lives that is not renewed."""
    return settings.timeout if "timeout" in settings.model_fields_set else LEASE_S


async def renewed(server: Server, leases: Sequence[Lease], patience_s: float = PATIENCE_S) -> list[bool]:
    """Let claims live on. Says for each whether its token is the current one."""
    layout, found = await server.layout(), dict[tuple[str, int], bool]()
    by_partition = dict[int, list[tuple[str, int, Any]]]()
    for key, token, seconds in leases:
        lease_us = False if seconds is None else round(seconds * 1e6)
        by_partition.setdefault(layout.partition_of(key), []).append((key, token, lease_us))
    while by_partition:
        some = {place: its[:_AT_ONCE] for place, its in by_partition.items()}
        calls = {place: ({"claims": its}, ()) for place, its in some.items()}
        replies = answers((await server.run_each("lease", calls, patience_s=patience_s)).values())
        for its, held in zip(some.values(), replies, strict=True):
            found |= {claim[:2]: bool(its_held) for claim, its_held in zip(its, held, strict=True)}
        by_partition = {place: left for place, its in by_partition.items() if (left := its[_AT_ONCE:])}
    return [found[key, token] for key, token, _ in leases]


class Keeping:
    """The claims that this process has until it releases them, as on one host. A thread renews them: callers that wait
    for results have an event loop for moments only, or keep it from running for long.
    """

    def __init__(self, server: Server, lease_s: Callable[[], float]) -> None:
        """`lease_s` says how long a claim lives that is not renewed."""
        self._server = server
        self._lease_s = lease_s
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._tokens: dict[str, int] = {}
        self._runs = False
        """Whether there is a thread that renews them."""

    def keep(self, key: str, token: int) -> None:
        """A claim was made."""
        if self._pid != os.getpid():  # after a fork: the claims are those of the parent
            self._begin()
        with self._changed:
            self._tokens[key] = token
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._renew, name="shardq-leases", daemon=True).start()

    def forget(self, key: str) -> None:
        """A thread was released."""
        self._tokens.pop(key, None)

    def end(self) -> None:
        """Renew none any more."""
        if self._pid == os.getpid():
            with self._changed:
                self._tokens.clear()
                self._changed.notify()

    def _renew(self) -> None:
        pause_s = self._lease_s() / OFTEN
        try:
            while tokens := self._after(pause_s):
                pause_s = self._renewed(tokens)
        finally:
            self._server.hang_up()

    def _after(self, pause_s: float) -> dict[str, int]:
        """The claims that there are then. Without any the thread ends."""
        with self._changed:
            self._changed.wait(pause_s)
            self._runs = bool(self._tokens)
            return dict(self._tokens)

    def _renewed(self, tokens: dict[str, int]) -> float:
        """Renew these claims. Returns after how many seconds they are renewed again."""
        lease_s = self._lease_s()
        leases = [(key, token, lease_s) for key, token in tokens.items()]
        try:
            held = plainly(renewed(self._server, leases, 0.0))
        except ShardqError:  # the next try may succeed before they are over
            return min(_AGAIN_S, lease_s / OFTEN)
        for (key, token), stands in zip(tokens.items(), held, strict=True):
            if not stands and self._tokens.get(key) == token:
                self.forget(key)
        return lease_s / OFTEN
