"""What a storage promises of handlers that are paused."""

from __future__ import annotations

from typing import Protocol

from shardq.model import Pause, When


class Pausable(Protocol):
    """Lets an operator keep workers off a handler, and its requests where they are.

    Pauses

    S45. While a handler is paused, its requests are accepted as ever, and handed out to no worker: `wait` and `rest` do
        not offer its threads, also not the one that is `bound`, and `take` and `turn` hand out nothing of them. What is
        in hand can be acknowledged, with outputs, failed, given back and buried. Claims stay as they are, and other
        handlers are served as ever. `resume` ends it, and wakes those that sleep. It returns whether the handler was
        paused. (P8, P9) [Redis: partition 0 is the first to know, and the others follow within the call. Where the
        caller dies in between, they follow with the next `pause` or `resume`.]
    S46. A pause `until` an instant, or for a span that begins with the call, ends by itself then, by the storage's
        clock. Those that sleep are woken by the time itself. (P9)
    S47. A pause belongs to the storage: it outlives the processes that asked for it and those that serve. `pauses`
        lists those that stand, by handler. Another `pause` of the same handler takes the place of the former, and none
        is ever half there, whichever process dies when. The names of handlers need not be known. `pause` raises
        `HandlerError` for what is no handler, for the handler of callers' inboxes, for a reason of more than
        `LONGEST_REASON_BYTES`, and where `MOST_PAUSES` other handlers are paused. (P5) [Memory: while the process
        lives.]
    """

    async def pause(self, handler: str, until: When | None = None, reason: str = "") -> None:
        """Keep workers off `module/Handler`, by default until it is resumed."""
        ...

    async def resume(self, handler: str) -> bool: ...

    async def pauses(self) -> list[Pause]: ...
