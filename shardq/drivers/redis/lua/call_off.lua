-- Single messages wait no more: `Deferrals.cancel`.
-- keys: STATE DUE AGAIN STARVED WAITING WAITS TIMERS SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base frees records sleepers equal room pending calls
-- args: entries, a list of: number, due time, places of the messages that are meant; producer, call
-- Returns how many waited.
local done = done_before()
if done then
    return done
end
if state.arriving then
    return 0
end
local ended, nbytes = 0, 0
for _, its in ipairs(args.entries) do
    local number, due_us, meant = its[1], its[2], {}
    for _, place in ipairs(its[3]) do
        meant[place] = true
    end
    local entry = entry_of(number)
    if entry and not entry.schedule and entry.due_us == due_us then
        local gone, their_bytes = leave_entry(number, entry, function(place)
            return meant[place]
        end)
        ended, nbytes = ended + #gone, nbytes + their_bytes
    end
end
count('used', -nbytes)
if ended > 0 then
    tell_of_room()
end
note_call(ended)
save()
return ended
