-- Letters are forgotten: `Storage.drop`.
-- keys: STATE GRAVES LETTERS RESULTS AGAIN STARVED SLEEPERS SLEEPS CALLS CALLS_OLD
-- needs: base frees sleepers room letters calls
-- args: grave, sequences, producer, call
-- Returns how many there were.
local done = done_before()
if done then
    return done
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
