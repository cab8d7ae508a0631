-- Results that are too old, or too many, go; and one of those that stay: `Storage.kept`, and `drop` of results.
-- keys: STATE GRAVES LETTERS RESULTS AGAIN STARVED SLEEPERS SLEEPS
-- needs: base frees sleepers room letters results
-- args: terms (see shared/results.lua)
-- ARGV[2]: the name of a result; nil: none is asked for. Returns whether more have to go (1), how many are kept, and, where
-- there is such a result, its number and the result.
-- While the content goes elsewhere, or comes from there, this is only a look.
local dropped, done = 0, true
if not state.leaving and not state.arriving then
    dropped, done = make_room_for_results(args.terms, 0, 0)
end
if dropped and dropped > 0 then
    tell_of_room()
    save()
end
local reply = {done == false and 1 or 0, figure('kept')}
local place = ARGV[2] and redis.call('HGET', RESULTS, ARGV[2])
if place and place >= oldest_place(args.terms) then
    reply[3], reply[4] = string.sub(place, #KEPT + 2), redis.call('HGET', LETTERS, place)
end
return reply
