-- Messages that come into their tubes at a time: `Storage.append` with an instant, once.
-- keys: STATE DUE AGAIN TIMERS OWNERS WAITING WAITS THREADS CHUNKS EQUAL LIVE READY STARVED SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base takes_room records sleepers threads equal tubes absent room pending calls
-- args: pipes, due_us, most, absent, sleeper, producer, call
-- ARGV from 2 on: bodies. Returns what `append.lua` does.
local before = made_before()
if before then
    return before[1]
end
if args.sleeper then
    get_up(args.sleeper)
end
local bodies, number, nbytes = wanted_bodies()
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
local earliest = next_instant()
for place, pipe in ipairs(args.pipes) do
    if bodies[place] then
        new_entry(ONCE, DUE, pipe, bodies[place], args.due_us)
    end
end
count('deferred', number)
count('used', nbytes)
promote()
if args.due_us > now then
    reckon_with(args.due_us, earliest)
end
number = note_call(number)
commit()
return number
