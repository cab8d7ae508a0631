"""Crash-safe shared memory: bytes and process lives. It knows no asyncio, no codec, and nothing of handlers.

Its rooms: `files` (the files in /dev/shm, and their owners), `processes` (which are attached, alive, inside the guard,
asleep), `memory` (free memory, and how messages lie in it), `tubes` (threads, FIFOs, claims, delivery), `deferred`
(messages that wait for their due time), `checking` (is a segment whole?), `verbs` (one guarded section each: all that a
driver calls), `observing` (looking from outside). The modules, each after those that it uses:

* `words`: what each word means
* `layout`: where each word lives
* `damage`: contents that no death can leave behind
* `files.names`: what the files of a segment are called
* `files.refusals`: what the system refuses, told with what to do
* `files.lock_bytes`: locks on bytes of the lock file, and no wait for them without an end
* `processes.namespaces`: which process ids and clocks are shared
* `files.own_files`: made for this user alone, and opened only if they are
* `files.earlier`: the files of former layouts
* `files.capacity`: how large, where it is not given
* `segment`: the mapped object
* `destroying`: unlinking one that no process uses
* `counters`: what the totals say together
* `actions`: the last actions of operators
* `memory.reserve`: memory for when /dev/shm is full
* `gate`: what a segment takes and hands out
* `processes.shares`: which slots are kept for which processes
* `processes.slots`: which processes are attached, and alive
* `processes.holding`: which process has the guard, seen from outside
* `processes.progress`: how far a worker has come with its batch
* `processes.patience`: how long to wait for the guard
* `processes.guard`: mutual exclusion that survives its holder
* `looks`: looks at a segment that may be closed meanwhile
* `journal`: what is under way
* `memory.record`: framing of messages
* `memory.places`: where extents lie
* `memory.extents`: memory for messages, in extents of a few sizes
* `tubes.handler_table`: a number for each handler, and which process serves it
* `tubes.replies`: how many of the messages are results for callers
* `tubes.tallies`: what each process counts of each handler
* `tubes.entry_memory`: memory for the tables of threads and tubes
* `tubes.directory`: threads and tubes by name
* `memory.record_chain`: how a tube's records hang together
* `tubes.marks`: where some messages are that were read
* `tubes.fifo`: reading one FIFO, and acknowledging
* `tubes.fifo_writer`: writing behind its last message
* `processes.exit_log`: how the last processes ended
* `tubes.delivery`: what is in hand, and failed before
* `files.pipes`: writing where the reader may be gone
* `processes.doorbell`: waking a sleeper
* `processes.death_watch`: noticing a death
* `processes.bells`: which processes to ring, and which rings stand
* `processes.sleepers`: which processes sleep, and which to ring
* `tubes.pauses`: handlers whose threads are offered to no worker
* `tubes.claims`: which process serves which thread, and which threads have work
* `tubes.graves`: dead letters, and results that are kept: the oldest make room
* `tubes.parts`: all of `tubes`, put together for one process
* `memory.slabs`: memory for pending records
* `deferred.due_heap`: pending records in the order of their due times
* `deferred.records`: reading pending records
* `unique_index`: tables that hint where an equal message may be
* `verbs.equal_messages`: which messages really are equal
* `verbs.transfer`: pending messages are added, go to their tube, are taken out
* `verbs.recovery`: what to mend after a death
* `verbs.waiting`: looking for work, sleeping
* `core`: the frequent case in C, where it is there
* `checking.image`: a copy of a segment at one instant
* `checking.look`: what all looks at a segment have in common
* `checking.threads`: are threads found, and offered?
* `checking.fifos`: are messages all there?
* `checking.pending`: is what waits for its time whole?
* `checking.equals`: are equal messages found?
* `checking.whole`: all of `checking`, and whether it agrees
* `verbs.checking`: is a segment whole that is in use?
* `verbs.reading`: looking into tubes
* `verbs.removing`: taking messages out of tubes
* `verbs.appending`: adding messages to tubes, all of them or those without an equal
* `verbs.pending_pages`: listings of what waits
* `verbs.deferring`: verbs on deferred and recurrent messages
* `verbs.deferrals`: verbs on single messages that wait
* `verbs.outputs`: adding what a handler sends on, in the commit that acknowledges
* `verbs.handing`: the steps of a worker on its thread
* `verbs.delivering`: claiming threads, handing out and acknowledging
* `verbs.pausing`: keeping workers off handlers
* `verbs.recording`: remembering what operators did
* `verbs.burying`: dead letters
* `verbs.supervision`: the supervisor's view
* `verbs.leaving`: the content goes elsewhere
* `verbs.arriving`: the content of another storage comes
* `verbs.membership`: a worker's view
* `verbs.overview`: the segment as a whole, without the guard
* `verbs.inspection`: and what is known for sure only inside the guard
* `observing.steadily`: look, look again, and give up in the end
* `observing.copies`: entries and records, copied by the kernel
* `observing.threads`: threads and tubes by name, and by their states
* `observing.messages`: the messages of a tube
* `observing.pending`: requests that wait for their time, or come again and again
* `observing.serving`: which handlers are served
* `observing.spots`: many places of a segment, copied in few calls
* `observing.many`: many threads with their tubes, copied at once
* `observing.tubes`: how long each tube is, how old, and who serves it
* `observing.tallies`: what all processes counted
* `observing.facts`: what is known of one pipe, and of those that work
* `observing.observer`: all of `observing`
* `assembly`: all of these, put together for one process
* `store`: the slot of one process, its guarded section, and what a fork changes
* `registry`: opening and closing, once per process

One rule makes a kill at any instruction harmless. A process changes shared words only inside the guard. It first writes
down which thread entries it is about to touch (the intent). It then changes unreachable words only, makes them count by
one 8-byte store, and clears the intent last. A process that enters the guard and finds an intent standing mends what it
names: every other fact about that is derived from what the committing stores left.
"""
