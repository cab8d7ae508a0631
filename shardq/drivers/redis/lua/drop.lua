-- Letters are forgotten: `Storage.drop`.
-- keys: STATE GRAVES LETTERS AGAIN STARVED SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base frees sleepers room letters calls
-- args: grave, sequences, producer, call
-- Returns how many there were.
local before = made_before()
if before then
    return before[1]
end
if state.leaving then
    return redis.error_reply('LEFT ' .. state.leaving)
end
if state.arriving then
    return 0
end
local places = {}
for place, number in ipairs(args.sequences) do
    places[place] = place_of(args.grave, number)
end
local dropped = drop_letters(args.grave, places)
if dropped > 0 then
    tell_of_room()
end
note_call(dropped)
save()
return dropped
