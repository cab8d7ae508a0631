-- Outputs that the partition has put away for itself come into their tubes: the first entry of them.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN WAITING WAITS STARVED SLEEPERS SLEEPS OUTBOX OUTWARD TALLIES CAME
-- needs: base frees records sleepers tallies threads equal tubes absent room pending outbox coming
-- args: partition
-- Returns whether there are more (1), or the index of equal messages of a tube is not complete yet.
local prefix = outward_prefix(args.partition)
local place = first_with(OUTWARD, prefix)
if not place then
    return 0
end
local field = outbox_field(args.partition, tonumber(string.sub(place, #prefix + 1)))
local said, bodies = entry_away(redis.call('HGET', OUTBOX, field))
local kept = wanted_of(said, bodies)
if kept then
    local number, nbytes = size_of_all(bodies)
    redis.call('HDEL', OUTBOX, field)
    redis.call('ZREM', OUTWARD, place)
    count('accepted', -number)
    count('replies', -replies_among(said.pipes, bodies))
    count('used', -nbytes)
    store_entry_away(said, kept)
    tell_of_room()
end
commit()
return first_with(OUTWARD, prefix) and 1 or 0
