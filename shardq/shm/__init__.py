"""Crash-safe shared memory: bytes and process lives. It knows no asyncio, no codec, and nothing of handlers.

Who uses whom, from the bottom: `layout` (where each word lives) < `segment` (the mapped object and its files) <
`slots` (who is attached, and alive) < `guard` (mutual exclusion that survives its holder) < `intent` (what is under
way) < `record` (framing) < `extents` (room) < `directory` (threads and tubes by name) < `tube` (one FIFO) < `deaths`
(how the last processes ended) < `attempts` (what is in hand, and failed before) < `binding` (who serves which thread,
who sleeps) < `repair` (what to mend after a death), `doorbell` (waking a sleeper), `watch` (noticing a death),
`waiting` (looking for work, sleeping), `letters` (dead letters), `supervision` (the supervisor's view), `inspection`
(looking without disturbing) < `store` (one method per verb) < `attachments` (opening and closing, once per process).

One rule makes a kill at any instruction harmless. Whatever changes shared words runs inside the guard, first writes
down which thread entry, or which two, it is about to touch (the intent), changes unreachable words only, makes them
count by one 8-byte store, and clears the intent last. Whoever enters the guard and finds an intent standing mends that:
every other fact about it is derived from what the committing stores left.
"""
