"""How the last few processes ended, written by their supervisor, read by the process that goes on with their work.

A table in the header: the owner word of the dead process, and how it ended. Only the supervisor writes, without the
guard; the owner word comes last, so an entry that can be found is complete. A death that is planned is written before
the kill. So the process that finds the dead one knows already that the death does not count.
"""

from __future__ import annotations

from shardq.model import Ending
from shardq.shm import words as at
from shardq.shm.segment import Segment

_SIGNAL, _EXIT_CODE, _TIMED_OUT, _EXCUSED = 1 << 16, 1 << 17, 1 << 18, 1 << 19
#: Where the table ends.
_BEHIND = at.DEATHS + at.DEATH_ENTRIES * at.DEATH_WORDS


class ExitLog:
    """The table of deaths."""

    def __init__(self, segment: Segment) -> None:
        self._words = segment.words

    def of(self, owner: int) -> Ending | None:
        """How this process ended, None where that was not written down."""
        how = self._find(owner)
        if not how:
            return None
        code = how & 0xFFFF
        return Ending(
            code if how & _SIGNAL else None, code if how & _EXIT_CODE else None, timed_out=bool(how & _TIMED_OUT)
        )

    def excused(self, owner: int) -> bool:
        """Whether this process was ended on purpose, so that its batch is not to blame."""
        return bool(self._find(owner) & _EXCUSED)

    def note(self, owner: int, ending: Ending, *, excused: bool = False) -> None:
        """Write down how a process ended, or is about to. An entry that stands already is left, since it is truer. Of
        an end that no supervisor saw nothing is written.
        """
        if ending == Ending() or self._find(owner):
            return
        code, kind = (ending.signal, _SIGNAL) if ending.signal is not None else (ending.exit_code or 0, _EXIT_CODE)
        flags = kind | (_TIMED_OUT if ending.timed_out else 0) | (_EXCUSED if excused else 0)
        number = self._words[at.DEATHS_CURSOR]
        word = at.DEATHS + number % at.DEATH_ENTRIES * at.DEATH_WORDS
        self._words[word] = 0
        self._words[word + 1] = flags | code
        self._words[word] = owner
        self._words[at.DEATHS_CURSOR] = number + 1

    def _find(self, owner: int) -> int:
        # Read at one go: a worker that goes on with the work of a dead one looks three times. Word by word that was a
        # third of all byte codes of a recovery.
        owners = self._words[at.DEATHS : _BEHIND : at.DEATH_WORDS].tolist()
        if owner not in owners:
            return 0
        word = at.DEATHS + owners.index(owner) * at.DEATH_WORDS
        how = self._words[word + 1]
        return how if self._words[word] == owner else 0  # else another one was written in its place meanwhile
