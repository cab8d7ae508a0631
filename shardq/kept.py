"""Which number a result that is kept has, by its name, for storages that have no index of them: each is read once."""

from __future__ import annotations

from shardq.model import EMPTY, KEPT_NAME_BYTES, KEPT_PIPE, Batch
from shardq.protocols import Storage

#: How many results are read at once.
_AT_ONCE = 32
#: For so many results it is remembered where they are before it is looked whether these are still there.
_REMEMBERED = 1024


class KeptIndex:
    """What this process knows of the results that a storage keeps. Several threads may ask at the same time."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._numbers: dict[bytes, int] = {}
        """By name."""
        self._through: int | None = None
        """The number of the last one that was read."""
        self._most = _REMEMBERED

    async def find(self, name: bytes) -> Batch:
        """See `Storage.kept`."""
        await self._read_on()
        number = self._numbers.get(name)
        if number is None:
            return EMPTY
        found = await self._storage.range(KEPT_PIPE, 1, number - 1)
        if found.count and found.sequence == number and _name(found.payload) == name:
            return found
        self._numbers.pop(name, None)
        return EMPTY

    async def _read_on(self) -> None:
        await self._storage.drop(KEPT_PIPE)
        while (batch := await self._storage.range(KEPT_PIPE, _AT_ONCE, self._through)).count:
            for number, result in zip(batch.numbers, batch.messages, strict=True):
                self._numbers[_name(result)], self._through = number, number
        if len(self._numbers) > self._most:
            oldest = (await self._storage.range(KEPT_PIPE, 1)).sequence
            for name, number in list(self._numbers.items()):  # other threads may add some meanwhile
                if number < oldest:
                    self._numbers.pop(name, None)
            self._most = max(_REMEMBERED, 2 * len(self._numbers))


def _name(result: bytes) -> bytes:
    return result[:KEPT_NAME_BYTES]
