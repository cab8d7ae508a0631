-- Some of the threads on which there is a claim: `Movable.in_hand`.
-- keys: STATE THREADS LIVE READY TIMERS OWNERS SLEEPERS SLEEPS TALLIES CAME
-- needs: base frees sleepers tallies threads
local found = {}
end_what_is_over()
commit()
for _, member in ipairs(redis.call('ZRANGE', OWNERS, 0, 9)) do
    found[#found + 1] = string.match(member, '^[^%z]*%z(.*)$')
end
if #found == 0 and redis.call('ZRANGEBYSCORE', TIMERS, '-inf', now, 'LIMIT', 0, 1)[1] then
    found[1] = '' -- more leases are over than one call ends
end
return found
