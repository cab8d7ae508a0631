-- Release a thread: `Storage.unclaim`.
-- keys: STATE THREADS LIVE READY TIMERS OWNERS SLEEPERS SLEEPS CALLS CALLS_OLD TALLIES CAME
-- needs: base frees sleepers tallies threads calls
-- args: key, token, pause_us, tallies (what the worker did since it last said so: see shared/tallies.lua), producer, call
-- Returns whether the token was its current one.
local before = made_before()
if before then
    return before[1]
end
tally_all(args.tallies)
local its = held(args.key, args.token)
if not its then
    commit()
    return 0
end
if args.pause_us > 0 then
    its.pause_end = now + args.pause_us
end
end_claim(args.key, its)
if its.pause_end then
    wake_timekeeper()
end
note_call(1)
commit()
return 1
