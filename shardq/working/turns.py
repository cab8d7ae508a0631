"""What comes next in a stay: the turns that acknowledge, hand out, and go from one thread to another.

acknowledge  ->  the next batch of the thread, or another thread, in the same step
turn         ->  the same, with nothing to acknowledge
take         ->  the next batch of the thread, where no turn hands it out
rest         ->  the same as a turn, once something comes
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Any

from shardq.handler import Handler
from shardq.model import EMPTY, AllTerms, Batch, Hand, Terms, split_key
from shardq.outputs import Output
from shardq.protocols import Served
from shardq.working.code import Code
from shardq.working.in_hand import InHand
from shardq.working.outcome import Done, End, Leave, MovedOn
from shardq.working.quantum import Quantum
from shardq.working.taking import Taking

if TYPE_CHECKING:
    from shardq.working.worker import Worker

#: How long a thread rests whose handler gave a usable batch size at its start, and later one that is not usable.
PAUSE_WHEN_UNUSABLE_S = 1.0
#: No handlers, and no terms: with these a turn acknowledges, and hands out nothing.
_NONE = frozenset[str]()
_NO_TERMS: AllTerms = {}


class Turns:
    """The turns of one stay, by the claim in hand, within the quantum of each of its threads."""

    def __init__(self, worker: Worker, in_hand: InHand, handler_class: type[Handler[Any]], code: Code) -> None:
        self._worker = worker
        self._code = code
        self._storage = worker.queue.storage
        self._in_hand = in_hand
        self._class = handler_class
        self.terms: Terms | None = worker.handlers.terms.get(split_key(in_hand.key)[0])
        """The terms by which a turn of the storage hands out batches. None: no turns are made."""
        self.at_once = self.terms is not None
        """Whether no code of the handler runs before its first batch and after its last one."""
        self._quantum = Quantum(worker.settings)
        self._taking: Taking | None = None
        """Known from the first batch of the thread on that no turn hands out."""
        self._looked = False
        """Whether the worker looked for what no turn hands out."""

    def begin(self) -> None:
        """Begin anew with the thread that is in hand now."""
        self._taking, self._looked = None, False
        self._quantum.begin(0)

    async def acknowledge(self, batch: Batch, outputs: Sequence[Output]) -> Done | MovedOn | None:
        """Acknowledge a batch that was handled, with its outputs, and take what is next in the same step. None: there
        is no room for the outputs, and nothing is acknowledged. Raises `HandlerError`, `MessageTooLarge` and
        `ScheduleError` for outputs that can never be stored, and `QueueFull`; nothing is acknowledged then, either.
        """
        in_hand = self._in_hand
        former = in_hand.given
        if former.batch is not batch:
            former = in_hand.of(batch)
        if self.terms is None or self._worker.stopping:
            if not await self._storage.pop(former, batch.count, outputs):
                return None
            in_hand.note_acknowledged(batch.count)
            return Done()
        now_s = monotonic()
        stay = not self._quantum.is_over(in_hand.done + in_hand.left, now_s)
        # While other tasks of this process run, the worker has no batch in hand: should one of them end the process, no
        # request would be to blame. Where the storage suspends they run in each step, and this would change nothing.
        takes_none = now_s >= self._worker.waiting.others_due_at and not self._storage.suspends
        takes_none = takes_none or not (stay or self._moves_on)
        served, terms = (_NONE, _NO_TERMS) if takes_none else self._sought()
        hand = await self._storage.turn(former, served, terms, stay=stay or takes_none, outputs=outputs)
        if outputs and hand is former:
            return None
        in_hand.note_acknowledged(batch.count)
        return Done() if takes_none else self._led_to(hand, stay=stay)

    async def next_batch(
        self, handler: Handler[Any], context: Context, room: float, *, missed: bool
    ) -> Batch | MovedOn | Leave:
        """The next batch of the thread, of no more requests than there is room for where no turn hands it out, or what
        a turn found instead. An empty one: there is none now. `missed`: the storage said that there was work, and the
        batch before was empty.
        """
        if self.terms is None or missed or self._storage.suspends:
            return await self._take(handler, context, room)
        stay = not self._quantum.is_over(self._in_hand.done, monotonic())
        served, terms = self._sought()
        hand = await self._storage.turn(self._in_hand.of(EMPTY), served, terms, stay=stay)
        outcome = self._led_to(hand, stay=stay)
        return outcome if isinstance(outcome, MovedOn) else outcome.more or EMPTY

    async def rest(self) -> Batch | End:
        """Wait for the next batch of the thread, or of another one."""
        stay = not self._quantum.is_over(self._in_hand.done, monotonic())
        hand = await self._worker.waiting.rest(self._in_hand.of(EMPTY), self._worker.hold_s, stay=stay)
        if hand and hand.token != self._in_hand.token:
            return MovedOn(hand)
        return hand.batch if hand and hand.batch.count else Leave()

    async def leaves_some(self) -> bool:
        """Whether there may be requests in the thread that no turn hands out, of priorities that the handler does not
        list. While there were none, the worker looks for them once in a quantum.
        """
        if self._taking and self._taking.serves_unlisted:
            return True
        if self._looked and not self._quantum.is_over(self._in_hand.done, monotonic()):
            return False
        self._looked = True
        return await self._storage.wait(_NONE, 0, self._in_hand.key) is not None

    async def find_missed(self) -> None:
        """Look for work that the storage said there is, and that was in none of the priorities. It may have been
        cancelled meanwhile, but not each time.
        """
        await self._worker.waiting.let_others_run(long=True)
        if self._taking:
            await self._taking.find_unlisted()

    async def give_way(self) -> bool:
        """Whether the stay ends here, at the end of the quantum, because other threads wait. Where the next batch comes
        by a turn, which goes to them by itself, it does not.
        """
        by_turn = self._moves_on and not self._storage.suspends
        if by_turn or not self._quantum.is_over(self._in_hand.done, monotonic()):
            return False
        if await self._worker.others_wait():
            return True
        self._quantum.begin(self._in_hand.done)
        return False

    @property
    def _moves_on(self) -> bool:
        """Whether a turn leaves the thread at the end of the quantum. Else the worker looks whether others wait."""
        return self.at_once and self.terms is not None

    async def _take(self, handler: Handler[Any], context: Context, room: float) -> Batch | Leave:
        if self._taking is None:
            self._taking = Taking(self._worker, self._in_hand.given, self._class, self._code, context)
        batch = await self._taking.take(handler, self.terms and self.terms.limit, room)
        return Leave(PAUSE_WHEN_UNUSABLE_S) if batch is None else batch

    def _sought(self) -> tuple[Served, AllTerms]:
        """What a turn looks for: work of these handlers, by these terms."""
        if self.at_once:
            return self._worker.handlers.served(), self._worker.handlers.terms
        # A handler that has to be stopped keeps its thread until it is stopped: no other one is served before.
        assert self.terms
        return _NONE, {split_key(self._in_hand.key)[0]: self.terms}

    def _led_to(self, hand: Hand | None, *, stay: bool) -> Done | MovedOn:
        """How the stay goes on with what a turn gave."""
        if hand is None or hand.token != self._in_hand.token:
            return MovedOn(hand)
        if not stay:
            self._quantum.begin(self._in_hand.done)
        self._in_hand.given = hand
        return Done(more=hand.batch)
