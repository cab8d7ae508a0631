"""What a handler's code sees of the queue, of its batch, and of where its outputs go."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol


class Registrar(Protocol):
    """`Queue` as a handler sees it, for follow-up requests: there the methods are described."""

    async def register(
        self, handler: type[Any], *requests: Any, defer: Any = None, if_not_exists: bool = False, recurrent: Any = None
    ) -> int: ...

    def register_sync(
        self, handler: type[Any], *requests: Any, defer: Any = None, if_not_exists: bool = False, recurrent: Any = None
    ) -> int: ...

    async def cancel(self, handler: type[Any], *requests: Any) -> int: ...


class InHand(Protocol):
    """The batch in hand as its handler sees it."""

    async def acknowledge(self, count: int) -> None: ...

    def progress(self, done: float, total: float | None, note: str) -> None: ...


class Emitting(Protocol):
    """Where a handler's outputs go: `Handler` describes the methods."""

    def emit(
        self, handler: type[Any], requests: Sequence[Any], *, defer: Any = None, if_not_exists: bool = False
    ) -> Coroutine[Any, Any, None]: ...

    def emit_sync(
        self, handler: type[Any], requests: Sequence[Any], *, defer: Any = None, if_not_exists: bool = False
    ) -> None: ...
