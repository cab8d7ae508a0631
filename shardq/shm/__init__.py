"""Crash-safe shared memory: bytes and process lives. It knows no asyncio, no codec, and nothing of handlers.

Who uses whom, from the bottom:

* `words`: what each word means
* `layout`: where each word lives
* `counters`: what the totals say together
* `damage`: what no death can leave behind
* `names`: what the files of a segment are called
* `refusals`: what the system refuses, told with what to do
* `namespaces`: which process ids and clocks are shared
* `files`: made for this user alone, and opened only if they are
* `earlier`: the files of former layouts
* `capacity`: how large, where nobody says
* `segment`: the mapped object
* `reserve`: memory for when /dev/shm is full
* `shares`: for whom slots are kept
* `slots`: who is attached, and alive
* `holding`: who has the guard, for who looks
* `patience`: how long to wait for it
* `guard`: mutual exclusion that survives its holder
* `intent`: what is under way
* `record`: framing of messages
* `extents`: room
* `handlers`: a number for each handler, and which process serves it
* `directory`: threads and tubes by name
* `chains`: how a tube's records hang together
* `tube`: one FIFO
* `deaths`: how the last processes ended
* `attempts`: what is in hand, and failed before
* `pipes`: writing where nobody may read any more
* `doorbell`: waking a sleeper
* `watch`: noticing a death
* `binding`: who serves which thread, who sleeps
* `cells`: room for what waits for its time
* `heap`: what waits, in the order of due times
* `pending_records`: what waits, for who only reads
* `equality`: tables that hint where an equal message may be
* `alike`: which messages really are equal
* `pending`: what waits comes, goes to its tube, is taken out
* `repair`: what to mend after a death
* `appending`: adding to tubes, all or what has no equal
* `timing`: verbs on what waits for its time
* `waiting`: looking for work, sleeping
* `letters`: dead letters
* `supervision`: the supervisor's view
* `inspection`: looking without disturbing
* `observer`: the same from outside, without a slot
* `parts`: all of these, put together for one process
* `store`: one method per verb
* `attachments`: opening and closing, once per process

One rule makes a kill at any instruction harmless. Whatever changes shared words runs inside the guard, first writes
down which thread entry, or which two, it is about to touch (the intent), changes unreachable words only, makes them
count by one 8-byte store, and clears the intent last. Whoever enters the guard and finds an intent standing mends that:
every other fact about it is derived from what the committing stores left.
"""
