-- Messages into tubes: `Storage.append` and `append_when_room` without a time.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL WAITS AGAIN STARVED SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base takes_room records sleepers threads equal tubes absent room calls
-- args: pipes, most (bytes there may be), absent (by pipe), sleeper (told of room where there is none), woken, producer, call
-- ARGV from 2 on: bodies, each of the pipe at the same place; several may be of one pipe.
-- Returns how many were taken, -1 where there is no room, -2 where it has to be called again: the index of equal messages
-- of a tube is not complete yet.

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
        arrive(pipe, bodies[place], args.absent)
    end
end
number = note_call(number)
commit()
return number
