-- Claim a thread: `Storage.claim`.
-- keys: STATE THREADS LIVE READY TIMERS OWNERS SLEEPERS SLEEPS CALLS CALLS_OLD TALLIES CAME
-- needs: base frees sleepers tallies threads calls
-- args: key, lease_us, owner, producer, call
-- Returns a token, 0 where the thread is claimed.
local done = done_before()
if done then
    return done
end
local its, token = thread(args.key), 0
if its.token == 0 and not state.arriving then
    begin_claim(args.key, its, args.lease_us)
    token = its.token
end
note_call(token)
commit()
return token
