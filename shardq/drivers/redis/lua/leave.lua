-- A sleeper was cancelled. Where it was woken already, another one is woken for what it was woken for.
-- keys: STATE READY SLEEPERS SLEEPS
-- needs: base sleepers ready
-- args: sleeper, room (whether it waited for room)
if not get_up(args.sleeper) then
    if args.room then
        wake_for_room(1)
    else
        for _, place in ipairs(first_places(nil)) do
            wake_for(string.match(place, '^([^%z]*)'))
        end
        wake_timekeeper()
    end
end
return 1
