-- The thread that is next: `Storage.wait`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN WAITING WAITS STARVED SLEEPERS SLEEPS
-- needs: base frees records sleepers threads equal tubes room pending ready
-- args: served (false: all), bound, sleeper, woken
-- Returns: key (nil: none), schedules, and where the sleeper lies: sleeps, for_us, sleepers; see turn.lua.
if args.woken then
    get_up(args.woken)
end
if state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
end_what_is_over()
promote()
local served = args.served or nil
local told = {schedules = schedule_is_due()}
local bound = args.bound and thread(args.bound)
if bound and bound.queued > 0 then
    told.key = args.bound
else
    told.key, told.turn = next_ready(served)
    if told.key then
        offer(told.key, thread(told.key))
    elseif args.sleeper and not told.schedules then
        lie_down(args.sleeper, work_events(served))
        if bound then
            bound.bell = args.sleeper
        end
        local instant = next_instant()
        told.sleeps, told.for_us, told.sleepers = true, instant and math.max(0, instant - now), sleepers()
    end
end
commit()
return cmsgpack.pack(told)
