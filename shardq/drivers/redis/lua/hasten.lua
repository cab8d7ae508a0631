-- A message that waits comes into its tube now: `Deferrals.run`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN WAITING WAITS STARVED SLEEPERS SLEEPS CALLS CALLS_OLD TALLIES CAME
-- needs: base frees records sleepers tallies threads equal tubes room pending calls
-- args: number, due_us, place, producer, call
-- Returns 1; 0: it waits no more; -1: nothing comes into a tube while the content of another storage does.
local done = done_before()
if done then
    return done
end
if state.arriving then
    return -1
end
local entry, came = entry_of(args.number), 0
if entry and not entry.schedule and entry.due_us == args.due_us then
    local gone = leave_entry(args.number, entry, function(place)
        return place == args.place
    end)
    for _, message in ipairs(gone) do
        come(entry.pipe, body_of({message}))
        came = 1
    end
end
note_call(came)
commit()
return came
