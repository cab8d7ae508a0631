"""Crash-safe shared memory: bytes and process lives. It knows no asyncio, no codec, and nothing of handlers.

Its rooms: `files` (what lies in /dev/shm, and whose it is), `processes` (who is attached, alive, inside, asleep),
`memory` (room, and how messages lie in it), `tubes` (threads, FIFOs, claims, delivery), `deferred` (what waits for its
time), `verbs` (one guarded section each: all that a driver calls). Who uses whom, from the bottom:

* `words`: what each word means
* `layout`: where each word lives
* `counters`: what the totals say together
* `damage`: what no death can leave behind
* `files.names`: what the files of a segment are called
* `files.refusals`: what the system refuses, told with what to do
* `files.lock_bytes`: locks on bytes of the lock file, and no wait for them without an end
* `processes.namespaces`: which process ids and clocks are shared
* `files.own_files`: made for this user alone, and opened only if they are
* `files.earlier`: the files of former layouts
* `files.capacity`: how large, where it is not given
* `segment`: the mapped object
* `memory.reserve`: memory for when /dev/shm is full
* `processes.shares`: for whom slots are kept
* `processes.slots`: who is attached, and alive
* `processes.holding`: who has the guard, for who looks
* `processes.patience`: how long to wait for it
* `processes.guard`: mutual exclusion that survives its holder
* `journal`: what is under way
* `memory.record`: framing of messages
* `memory.extents`: room
* `tubes.handler_table`: a number for each handler, and which process serves it
* `tubes.directory`: threads and tubes by name
* `memory.record_chain`: how a tube's records hang together
* `tubes.fifo`: one FIFO
* `processes.exit_log`: how the last processes ended
* `tubes.delivery`: what is in hand, and failed before
* `files.pipes`: writing where the reader may be gone
* `files.descriptors`: how many are left, and for whom the last ones are
* `processes.doorbell`: waking a sleeper
* `processes.death_watch`: noticing a death
* `tubes.claims`: who serves which thread, who sleeps
* `memory.slabs`: room for what waits for its time
* `deferred.due_heap`: what waits, in the order of due times
* `deferred.records`: what waits, for who only reads
* `unique_index`: tables that hint where an equal message may be
* `verbs.equal_messages`: which messages really are equal
* `deferred.transfer`: what waits comes, goes to its tube, is taken out
* `verbs.recovery`: what to mend after a death
* `verbs.appending`: adding to tubes, all or what has no equal
* `verbs.deferring`: verbs on what waits for its time
* `verbs.waiting`: looking for work, sleeping
* `verbs.delivering`: claiming threads, handing out and acknowledging
* `verbs.dead_letters`: dead letters
* `verbs.supervision`: the supervisor's view
* `verbs.inspection`: looking without disturbing
* `verbs.observer`: the same from outside, without a slot
* `assembly`: all of these, put together for one process
* `store`: one method per verb
* `registry`: opening and closing, once per process

One rule makes a kill at any instruction harmless. Whatever changes shared words runs inside the guard, first writes
down which thread entries it is about to touch (the intent), changes unreachable words only, makes them count by one
8-byte store, and clears the intent last. A process that enters the guard and finds an intent standing mends that: every
other fact about it is derived from what the committing stores left.
"""
