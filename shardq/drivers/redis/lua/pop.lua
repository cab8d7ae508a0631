-- Messages leave, and what was sent on comes: `Storage.pop`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN WAITING WAITS STARVED SLEEPERS SLEEPS CALLS CALLS_OLD OUTBOX OUTWARD TALLIES CAME
-- keys with outputs: GRAVES LETTERS RESULTS
-- needs: base records sleepers tallies threads equal tubes absent room pending outbox letters results without_outputs calls
-- args: key, token, name (of the tube), through (messages below that number leave; nil: none), from (the first of the
--   batch), outputs, producer, call
-- ARGV from 2 on: bodies of the outputs. Returns 1, or why the outputs cannot be stored: see `shared/outputs.lua`.
local before = made_before()
if before then
    return before[1]
end
local come = outputs_come(args)
local its = held(args.key, args.token)
if not its or (args.through and not may_leave(its, args.name, args.from, args.through)) then
    return fenced(args.key, args.token)
end
local refusal = come and refusal_of_outputs(1)
if refusal then
    commit()
    return refusal
end
if args.through and drop_below(args.key, its, args.name, args.through) > 0 then
    tell_of_room()
end
note_call(1)
commit()
return 1
