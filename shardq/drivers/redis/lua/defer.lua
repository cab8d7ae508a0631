-- Messages that come into their tubes at a time: `Storage.append` with an instant, once.
-- keys: STATE DUE AGAIN TIMERS OWNERS WAITING WAITS THREADS CHUNKS EQUAL LIVE READY STARVED SLEEPERS SLEEPS CALLS CALLS_OLD TALLIES CAME
-- needs: base takes_room records sleepers tallies threads equal tubes absent room taking pending calls
-- args: pipes, due_us, most, absent (by pipe), sleeper, woken, producer, call
-- ARGV from 2 on: bodies. Returns what `append.lua` does.
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
        defer(pipe, bodies[place], args.due_us)
    end
end
promote()
number = note_call(number)
commit()
return number
