-- The thread that is next: `Storage.wait`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN WAITING WAITS STARVED SLEEPERS SLEEPS OUTWARD TALLIES CAME
-- needs: base frees records sleepers tallies threads equal tubes room pending ready
-- args: served (false: all), bound, sleeper, woken, net_us, peek (the thread is not returned yet: it keeps its turn),
--   expected (the turn that a look saw; another look may have returned that thread since), fresh (a thread that was
--   returned within ROUND_US is none: one of another partition may be before it)
-- Returns: key (nil: none), its turn (nil: it is the bound one), schedules, away (something is on its way to other
-- partitions), changed (the thread that is next is not the expected one), and where the sleeper lies: sleeps, for_us,
-- looks_in_us; see turn.lua.
if args.woken then
    get_up(args.woken)
end
if state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
end_what_is_over()
promote()
local served = args.served or nil
local told = {schedules = schedule_is_due(), away = state.lent ~= nil or redis.call('EXISTS', OUTWARD) == 1}
local bound = args.bound and thread(args.bound)
if bound and bound.queued > 0 and not is_paused(handler_of(args.bound)) then
    told.key = args.bound
else
    told.key, told.turn = next_ready(served)
    local another = args.expected and told.turn ~= args.expected
    if told.key and (another or args.fresh and tonumber(told.turn) > math.max(now, figure('turn'))) then
        told.key, told.changed = nil, true
    elseif told.key and args.peek then
        told.peeked = true
    elseif told.key then
        offer(told.key, thread(told.key))
    elseif args.sleeper and not told.schedules then
        told.looks_in_us = lie_down_in_turn(args.sleeper, work_events(served))
        if bound then
            bound.bell = args.sleeper
        end
        local instant = next_instant()
        told.sleeps, told.for_us = true, instant and math.max(0, instant - now)
    end
end
commit()
return cmsgpack.pack(told)
