-- What is in hand failed: `Storage.fail`; or goes back: `Storage.give_back`.
-- keys: STATE THREADS LIVE READY TIMERS OWNERS SLEEPERS SLEEPS CALLS CALLS_OLD TALLIES CAME
-- needs: base frees sleepers tallies threads calls
-- args: key, token, name (of the tube), through (what is in hand ends below that number), at_most (nil: it failed),
--   reason (why the attempt failed; nil: it did not), producer, call
-- Returns the failures of a message that was alone: attempts, when for the first and the last time.
local its = held(args.key, args.token)
if not its then
    return fenced(args.key, args.token)
end
local before = made_before()
if before then
    return cmsgpack.pack(before[1])
end
local tube, failures = its.tubes[args.name], {0, 0, 0}
-- The server handed out more before a replica took its place.
if tube and tube.handed_to == args.token and tube.handed_count > 0 and args.through > tube.handed_through then
    return fenced(args.key, args.token)
end
if args.reason and tube and tube.handed_to == args.token and tube.handed_count > 0 then
    tally_some(REASONS[args.reason], handler_of(args.key), 1)
end
if tube and args.at_most then
    give_back(tube, args.token, args.at_most)
elseif tube and fail(tube, args.token) then
    failures = {tube.failed.attempts, tube.failed.first_us, tube.failed.last_us}
end
note_call(failures)
commit()
return cmsgpack.pack(failures)
