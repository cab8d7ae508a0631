-- What is due once comes into its tube: `Storage.promote`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN WAITING WAITS STARVED SLEEPERS SLEEPS OUTWARD TALLIES CAME
-- needs: base frees records sleepers tallies threads equal tubes room pending
-- args: sleeper (lies down), events (what it waits for)
-- Returns when the next is due (false: nothing waits), the time, and of up to 64 schedules that are due: number of the
-- entry, due time, schedule. Then whether something is on its way to other partitions.
if args.sleeper then
    get_up(args.sleeper)
end
if state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
end_what_is_over()
promote()
if args.sleeper then
    lie_down(args.sleeper, args.events)
end
commit()
local due = {}
for _, number in ipairs(state.arriving and {} or redis.call('ZRANGEBYSCORE', AGAIN, '-inf', now, 'LIMIT', 0, 64)) do
    local entry = entry_of(number)
    due[#due + 1] = {number, entry.due_us, entry.schedule}
end
return cmsgpack.pack({next_due() or false, now, due, state.lent ~= nil or redis.call('EXISTS', OUTWARD) == 1})
