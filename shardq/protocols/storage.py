"""What a storage promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from shardq.model import AllTerms, Batch, Counts, Failed, Hand, Limits, Part, Reason, Scheduled, Terms, When
from shardq.outputs import Output
from shardq.pages import PAGE_ITEMS, Page
from shardq.protocols.auditing import Auditable
from shardq.protocols.deferrals import Deferrals
from shardq.protocols.pausing import Pausable
from shardq.settings import StorageSettings

#: Names of the handlers, `module/Handler`, that a worker has; None: of all there are.
Served = frozenset[str] | None


class Storage(Pausable, Auditable, Protocol):
    """Keeps the messages of all tubes, and the claims on their threads.

    Tubes

    S1. Messages of one tube come out of `range` in the order in which `append` took them; one call keeps its own order.
        (P1)
    S2. `append` is all or nothing over all its tubes: of one call either every message is in its tube or none is,
        whichever process dies when. Each pipe is there once, and all parts keep within `limits`. (P4) [Redis: by
        partition.]
    S3. Once `append` took messages they stay until they are popped or removed. (P3) [Memory: while the process lives.
        Redis: as far as the server keeps what it confirmed. Where copies are wanted and not confirmed in time, the
        call raises `StorageUnconfirmed`, and the messages are stored.]
    S4. `append` returns None, and stores nothing, when there is no room, else how many messages it took; messages that
        could never fit raise `MessageTooLarge`. What is stored already stays readable and can be acknowledged. (P7)
        [Memory: where it has a capacity. Redis: that, of which each partition has an equal share, or where the server
        reached its `maxmemory`. So a thread has room for one share at most, which it shares with the other threads of
        its partition, and a partition that is full holds up no other. A call over several partitions takes nothing
        where one of them has no room; what others append between the look and the call may exceed the share by a step.
        What handlers send on may exceed the share of a partition, not that of all: S35.]
    S5. `range` reads from the head without removing, at most `limit` messages, those in front of the tube first; with
        `after` those of the tube with numbers above it. Of an unknown or empty tube it returns an empty batch. `take`
        looks into the tubes of a thread in the order of `terms.priorities`, in each priority into what is in front of
        the tube before the tube. It reads the same from the first that has any, at most `terms.limit` messages, and
        counts what it returns as handed out under the token. It says when, by the storage's clock. A batch has messages
        of the tube or from in front of it, never of both. In the same step `take` notes `terms.timeout_s`, so that a
        holder that is cut off anywhere is either without a batch or has its deadline noted: shared memory tells the
        supervisor, other drivers need not note it.
    S6. A message keeps its sequence number for life; numbers of a tube grow in order of acceptance, by one within a
        call, and are never reused, also not after the tube ran empty. What is put in front of a tube is numbered apart
        from it. [Redis: nor where a replica that lacks what came last takes the place of its server, as long as its
        clock is not that far behind. The same holds for tokens.]
    S7. `pop` acknowledges the first `count` messages of the batch in the hand, with all before them in its tube: they
        leave. Doing it again changes nothing. An empty batch acknowledges nothing.
    S9. `length` counts the messages of a tube, `contains` finds an equal message in it, `pipes` lists the tubes that
        are not empty. What is in front of a tube counts as in it. All listings are read page by page: `after` of a page
        is what the next one is given, None ends the listing. A page has about `limit` items: more where one thread has
        several tubes, fewer where they take long to read. In shared memory the section that reads a page stays below a
        millisecond. What is there from the first page to the last is listed. What comes, goes or changes meanwhile may
        be missing, or be there twice.
    S10. `remove` takes out messages equal to those given, wherever they stand, in front of the tube too, and returns
        how many it took; those already handed out under a token stay. Order of the others is kept.
    S17. `limits` says in numbers how much the storage takes, so that a caller can refuse a call before its first
        append. The empty storage has room for a step within `limits` and for each message of `message_bytes`; for a
        larger one it may have none. `append` raises `HandlerError` for a name of a thread that is longer than
        `key_bytes`. The numbers may become smaller while tables of the storage grow.
    S23. With `follow_up`, `append` may also use half of the room that is kept for burying: what handlers register in
        their work, which could not make room otherwise. (P7)
    S51. `append_at_once` does what `append` does, or nothing: then it returns 0, and `append` does it, or says why not.
        It waits for other processes no longer than a section of one takes. [Shared memory: it does the frequent case.
        Memory, Redis: nothing.]
    S27. With `absent`, `append` takes only messages that have no equal in the tube, handed out or not, none waiting for
        its time, and none earlier in the call. That holds also while other processes append at the same time. A message
        that was acknowledged, removed or buried is no equal any more, whichever process dies when. `absent` is not
        slower with more messages stored. (P5)

    Claims

    S8. `take`, `pop`, `turn`, `fail`, `give_back` and `bury` raise `FencedError` and change nothing when the token is
        not the thread's current one. (P2) [Redis: a holder that was stopped for longer than its lease finds out when it
        goes on.]
    S18. `fail` takes back what is in hand as failed. Of a message that was alone it returns how often it failed and
        when, by the storage's clock, and `take` hands it out alone, with these failures, until it leaves. Several are
        handed out one by one from then on, until all of them have left; `fail` returns no attempt. `give_back` takes
        back what is in hand and counts no failure: until all of it has left, `take` hands out at most `at_most`
        messages. So the storage keeps numbers, and the worker decides how small the next batches are. Where nothing is
        in hand both do nothing. (P6)
    S19. What was handed out to a process that died has failed, as by `fail`, without any living process's decision: the
        next `take` hands out a single message, and says how the process ended where that is known. What was released,
        or was handed out to a process whose end was planned, has not failed. (P6) [Memory: where the lease ran out.
        Redis: that, or a supervisor that says so.]
    S31. With a `starvation_limit` in its terms, `take` lets each of their priorities be the first it looks into at
        least once in so many batches of the thread, so that a lower one waits for no more. (P10)

    Waiting

    S11. `wait` returns the key of a thread that has messages, is claimed by no worker and belongs to one of the
        handlers `served`; it returns without suspending where there is one, otherwise as soon as there is, woken by the
        event and not by a timer. After `timeout_s` it returns None. Ready threads of other handlers, however many, do
        not slow it down, up to 254 handlers. (P8, P9)
    S12. `wait` goes round: a ready thread is returned before another one is returned for the second time. (P10) [Redis:
        where it became ready within a second after that one was returned, by the clocks of the servers that have the
        two.]
    S13. `wait` with `bound` also returns that key as soon as the thread has messages again, although it is claimed.
    S14. `append_when_room` does what `append` does as soon as there is room, woken by messages that leave; None after
        `timeout_s`, with nothing stored. (P7)
    S15. `backlog` is consistent: `queued` is 0 only if at one instant no message was queued or in hand. [Redis: one
        instant for each partition. What is on its way to another partition is queued, and for a moment in both.]
        Replies in inboxes of callers count as `replies`, and not as `accepted` and `handled`. [Shared memory: a death
        may lose that it was a reply.]
    S16. `wait_for_quiet` returns True once `queued` is 0, False after `timeout_s`: with 0 it says what is. [Shared
        memory: it waits up to a second for a process that has the guard just then. Redis: once it is 0 in all
        partitions at one instant, which two counts show between which nothing changed.]
    S32. `wait_for_quiet` with `deferred` also waits until nothing waits for its time; schedules do not count.

    Deferred

    S24. Messages appended with `when` wait until then and come into their tubes in the order of their due times, equal
        times in the order of acceptance. The storage goes by its own clock: an instant is one of that clock, a span
        begins when `append` or `append_when_room` is called, before it waits for room. Equal messages are not merged.
        S2, S3 and S4 hold for them as well. (P1, P3, P4)
    S25. A message that waits is in no tube: `pipes`, `length` and `range` do not show it, its thread can be claimed and
        `wait` does not offer its key. `backlog` counts it as `deferred`, not as `queued`.
    S26. `wait` moves what is due into its tubes by itself and returns at the due time of the next where that makes a
        thread ready. `promote` does that at once, and returns when the next is due, None where nothing waits. (P9)
        [Redis: it looks at partitions one by one. Of two threads that are due at once in two of them, several processes
        may be told of the one that came first, until it is claimed.]
    S28. `remove` also takes out messages that wait for their time.
    S29. With a `schedule` in `when`, messages come into their tube again and again: first at the instant or after the
        span given, else at the first time of the schedule, which `append` computes by the storage's clock as
        `resolved_us` does; after each time, next when the schedule says, counted from the former due time and later
        than now: what was missed comes once. A schedule that never comes, or cannot be read, raises `ScheduleError`,
        and nothing is stored. However many processes promote, each time comes once. (P3)
    S30. Appending an equal message to the same pipe with a schedule changes the one there is: where the schedule is the
        same, nothing; with `absent` it changes nothing and is not counted. `scheduled` lists them, page by page as
        `pipes`, the next due first; `unschedule` ends those equal to the given ones and returns how many. Of several in
        one call each changes by itself, and those that are new come together. `absent` without a schedule and `remove`
        do not see them.

    Dead letters

    S20. `bury` takes the message of that number from the head of where the batch in the hand is from, and stores the
        letter in the grave, both or neither, whichever process dies when, also where `append` finds no room. It returns
        False, and changes nothing, where there is no room even for that; for a message that left already it does
        nothing. (P3, P6, P7) [Memory: no other process can die.]
    S21. `requeue` takes a letter from its grave and appends a message to a tube, both or neither. With `front` the
        message comes before all that are in the tube, and behind those that were put in front earlier: a batch in hand
        stays as it is. `requeue` returns False where there is no room, and None, doing nothing, where the letter is
        gone. `drop` forgets letters and returns how many there were. (P3) [Redis: into another partition as outputs
        are, S35.]
    S22. Letters are no work: `wait` does not offer them, `take` does not hand them out, `pipes` does not list them,
        `backlog` counts them as `dead` only. `graves` lists their pipes, `range` reads them. Beyond
        `settings.dead_letters` in one grave, and where there is no room for another, the oldest go: `backlog` counts
        them as `evicted` for ever, and a line in the log says so at the time. (P7) [Redis: so many in each partition.]

    Turns

    S33. `turn` acknowledges the whole batch in the hand as `pop` does. With `stay` it then hands out more of the same
        thread, as `take` does by the terms of its handler. Where that has no more, or without `stay`, it releases the
        thread if another one is ready, claims that one, and hands out of it; if none is ready the claim stays, and the
        batch is empty, or without `stay` more of the same thread. Without a hand it claims the thread that is ready
        next and hands out of it; None: there is none. Of a handler without terms it hands out nothing: its batch is
        empty. All of this is one step, so an engine over a network needs one round trip. (P1, P2, P10) [Redis: one step
        in each partition. For a fifth of a second it goes on with threads of one partition while others have some, and
        which those are it knows from a look every two seconds, or when its own has none.]
    S34. `rest` is a `turn` that sleeps where a turn finds nothing: it returns what `turn` would as soon as that has
        work, woken by the event and not by a timer, and after `timeout_s` what `turn` then says. It sleeps from the
        step on in which it acknowledged and found nothing, so it misses no message. Where it is cancelled in its sleep,
        the batch is acknowledged and the claim stays. A hand with an empty batch has nothing to acknowledge. (P8, P9)
        [Redis: a look that lies down where it finds nothing, and another one when the server wakes it. Where the
        process that was woken dies before it looks, another one looks within about a second.]

    Outputs

    S35. `pop` and `turn` with `outputs` acknowledge and store these, both or neither, whichever process dies when. Each
        output is stored as `append` with `follow_up` would, one after the other: with its `when`, whose span begins at
        the call, and its `absent`, for which the batch counts as still in hand. All outputs of a call are one step:
        their number keeps within `limits.parts`, and together they keep within the other limits of a step. Where there
        is no room for all of them nothing changes: `pop` returns False, and `turn` returns the hand itself. Where what
        is to be acknowledged left before, no output is stored. (P2, P3, P4, P13) [Memory: no other process can die.
        Redis: one script. An output for another partition than that of its batch is stored with what it leaves, and is
        on its way from there: the verb brings it on, and where that is cut off any other process does. It comes into
        its tube once, and in the order of the acknowledgements. Then it is looked at whether it is `absent`. One for
        the partition of its batch goes the same way where a call has more than `limits.examined` for it that are each
        looked at, and behind such ones. While its partition cannot be reached, or its server has no memory, it waits,
        and takes room in that of its batch. Where its partition is full it comes all the same, so that full partitions
        never wait for one another, and goes on to take room in that of its batch until there is room where it is: no
        more is accepted meanwhile. Outputs have as much room as without what came so, and went. A server without memory
        has no room even where all that must be `absent` is there.]

    Results

    S36. A process can read results as a worker reads requests: it claims a thread, and rests in it
        with no other handler served. Outputs into the thread wake it. Once it has ended, however it ended, `claimed`
        says so, and `wait` offers what is left there. (P5) [Memory: there is no other process. Redis: once its lease
        ran out, which the storage renews until the thread is released, or its supervisor says so.]
    S37. `serving` says how many living processes look for requests of a handler: 0 only where none does, and no
        supervisor of workers that do is there. None: not known. [Memory: not known. Redis: by what families said of
        themselves, who are believed for as long as their lease.]
    S38. An output for `KEPT_PIPE` is not for a tube: its messages are results that are kept. They are no work, and
        `pipes`, `graves` and `backlog` leave them out; `range` reads them, `length` counts them, and `drop` forgets
        those of the numbers given, if any, and all that are older than `settings.results_age_s` by the storage's clock.
        These go as well where others are kept. Beyond `settings.results`, and where there is no room, the oldest go.
        The first `KEPT_NAME_BYTES` of a result are its name: `kept` finds the latest of a name, as soon as the step
        is done that kept it. (P7, P13) [Shared memory: those that were dropped count until those before them are gone.
        Redis: so many in each partition, which has the results of its threads. A server without memory has no room for
        a result.]

    Traces

    S39. Messages that differ in their trace context alone (`shardq.model.trace`) are equal, wherever this contract has
        equal messages. Each keeps its own for as long as it is stored, whatever becomes of it: where several are equal,
        the one that stays has that with which it came, and a message whose schedule changes has that of before. A
        letter has that of the request in it, so `requeue` can give it back. (P3, P5)
    """

    settings: StorageSettings
    importable_only: bool
    """Whether other processes serve the messages stored here, so that handlers must be importable by name."""
    suspends: bool
    """Whether `take`, `pop` and `turn` let the event loop run, as those over a network do."""

    @property
    def deferrals(self) -> Deferrals:
        """The messages that wait for their time, one by one: S40 to S44."""
        ...

    @property
    def limits(self) -> Limits:
        """How much one `append` takes, and how much a message may be. Waits for no other process."""
        ...

    async def append(
        self,
        parts: Sequence[Part],
        *,
        when: When | None = None,
        absent: bool = False,
        follow_up: bool = False,
    ) -> int | None: ...

    def append_at_once(self, parts: Sequence[Part], *, follow_up: bool = False) -> int:
        """`append` without `when` and `absent` where no other code has to run before: see S51."""
        ...

    async def contains(self, pipe: str, message: bytes) -> bool: ...

    async def length(self, pipe: str) -> int: ...

    async def pipes(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[str]: ...

    async def range(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        """Read from the head, or behind the message of a number, as a look."""
        ...

    async def take(self, key: str, token: int, terms: Terms) -> Batch:
        """Read from a thread, to handle."""
        ...

    async def pop(self, hand: Hand, count: int, outputs: Sequence[Output] = ()) -> bool:
        """Acknowledge the first messages of the batch in hand. The same batch may be acknowledged part by part. False:
        there is no room for the outputs.
        """
        ...

    async def turn(
        self, hand: Hand | None, served: Served, terms: AllTerms, *, stay: bool = True, outputs: Sequence[Output] = ()
    ) -> Hand | None:
        """`pop`, and what comes after it, in one step: see S33. `terms` are those of the handlers, by name."""
        ...

    async def rest(
        self, hand: Hand | None, served: Served, terms: AllTerms, timeout_s: float | None = None, *, stay: bool = True
    ) -> Hand | None:
        """A `turn` that waits for work: see S34. None for `timeout_s`: without an end."""
        ...

    async def fail(self, hand: Hand, reason: Reason = "raised") -> Failed:
        """Take back what is left of the batch in hand, as failed. The reason, here and below, is what figures of the
        handler count an attempt by that failed; None: none did.
        """
        ...

    async def give_back(self, hand: Hand, at_most: int, reason: Reason | None = None) -> None:
        """Take back what is left of the batch in hand, to hand it out again in batches of at most so many messages."""
        ...

    async def bury(
        self, hand: Hand, sequence: int, grave: str, letter: bytes, reason: Reason | None = None
    ) -> bool: ...

    async def graves(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[str]: ...

    async def requeue(
        self, grave: str, sequence: int, pipe: str, message: bytes, *, front: bool = False
    ) -> bool | None: ...

    async def drop(self, grave: str, *sequences: int) -> int: ...

    async def kept(self, name: bytes) -> Batch:
        """The result of this name. Empty: there is none."""
        ...

    async def remove(self, pipe: str, *messages: bytes) -> int: ...

    async def wait(self, served: Served, timeout_s: float | None = None, bound: str | None = None) -> str | None: ...

    async def append_when_room(
        self,
        parts: Sequence[Part],
        timeout_s: float | None = None,
        *,
        when: When | None = None,
        absent: bool = False,
    ) -> int | None: ...

    async def promote(self) -> int | None: ...

    async def scheduled(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]: ...

    async def unschedule(self, pipe: str, *messages: bytes) -> int: ...

    async def wait_for_quiet(self, timeout_s: float | None = None, *, deferred: bool = False) -> bool: ...

    async def backlog(self) -> Counts: ...

    async def serving(self, name: str) -> int | None:
        """How many processes look for requests of the handler `module/Handler`: see S37."""
        ...

    async def check_stays(self) -> None:
        """Raise `StorageMoved` where what the storage held is elsewhere, or on its way there: see `Movable`."""
        ...

    async def close(self) -> None:
        """Let go of what this object holds in this process. Closing twice is fine; what is stored stays."""
        ...

    async def claim(self, key: str) -> int:
        """Claim a thread for the caller; used by the lock. Returns a fencing token, or 0 where it is claimed."""
        ...

    async def claimed(self, key: str) -> bool: ...

    async def unclaim(self, key: str, token: int, pause_s: float = 0.0) -> bool: ...
