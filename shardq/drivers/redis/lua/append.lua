-- Messages into tubes: `Storage.append` and `append_when_room` without a time.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL WAITS AGAIN STARVED SLEEPERS SLEEPS CALLS CALLS_OLD TALLIES CAME
-- needs: base takes_room records sleepers tallies threads equal tubes absent room taking calls
-- args: pipes, most (bytes there may be), absent (by pipe), sleeper (told of room where there is none), woken, producer, call
-- ARGV from 2 on: bodies, each of the pipe at the same place; several may be of one pipe.
-- Returns how many were taken, or what taking.lua says: -1, there is no room; -2, it has to be called again, as the index of
-- equal messages of a tube is not complete yet.

local done = done_before()
if done then
    return done
end
local bodies, number = bodies_to_store()
if not bodies then
    return number
end
for place, pipe in ipairs(args.pipes) do
    if bodies[place] then
        arrive(pipe, bodies[place], args.absent)
    end
end
number = note_call(number)
commit()
return number
