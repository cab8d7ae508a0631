-- Let claims live on: `Lock.renew`, `Lock.ttl`.
-- keys: STATE THREADS LIVE READY TIMERS OWNERS SLEEPERS SLEEPS TALLIES CAME
-- needs: base frees sleepers tallies threads
-- args: claims, a list of: key, token, lease in microseconds from now (false: as it is)
-- Returns for each whether the token is its current one.
local found = {}
for place, claim in ipairs(args.claims) do
    local key, lease_us = claim[1], claim[3]
    local its = held(key, claim[2])
    if its and lease_us then
        its.lease_end = now + lease_us
        redis.call('ZADD', TIMERS, its.lease_end, key)
        if lease_us < 1000000 then
            wake_timekeeper()
        end
    end
    found[place] = its and 1 or 0
end
commit()
return found
