-- Messages that come into their tubes at a time: `Storage.append` with an instant, once.
-- keys: STATE DUE AGAIN TIMERS OWNERS WAITING WAITS THREADS CHUNKS EQUAL LIVE READY STARVED SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base takes_room records sleepers threads equal tubes absent room pending calls
-- args: pipes, due_us, most, absent (by pipe), sleeper, woken, producer, call
-- ARGV from 2 on: bodies. Returns what `append.lua` does.
local before = made_before()
if before then
    return before[1]
end
if state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
check_memory()
if args.woken then
    get_up(args.woken)
end
local bodies, number, nbytes = wanted_bodies(args, 1)
if not bodies then
    commit()
    return -2
end
if number > 0 and not fits(nbytes, args.most) then
    if args.sleeper then
        lie_down(args.sleeper, {ROOM})
    end
    commit()
    return -1
end
for place, pipe in ipairs(args.pipes) do
    if bodies[place] then
        defer(pipe, bodies[place], args.due_us)
    end
end
promote()
number = note_call(number)
commit()
return number
