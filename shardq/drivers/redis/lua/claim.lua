-- Claim a thread: `Storage.claim`.
-- keys: STATE THREADS LIVE READY TIMERS OWNERS SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base frees sleepers threads calls
-- args: key, lease_us, owner, producer, call
-- Returns a token, 0 where the thread is claimed.
local before = made_before()
if before then
    return before[1]
end
if state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
local its, token = thread(args.key), 0
if its.token == 0 and not state.arriving then
    begin_claim(args.key, its, args.lease_us)
    token = its.token
end
note_call(token)
commit()
return token
