-- A batch of a thread, to handle: `Storage.take`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS SLEEPERS SLEEPS TALLIES CAME
-- needs: base frees records sleepers tallies threads tubes batches
-- args: key, token, terms, producer, call (for `note_turn`: a take that is made again hands out the same)
local its = held(args.key, args.token)
if not its then
    return fenced(args.key, args.token)
end
if state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
note_turn(its)
local batch = hand_out(args.key, its, args.terms)
commit()
return reply_with(args.key, its, batch)
