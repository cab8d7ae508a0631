-- Entries that the other partition has are on their way no more; or it owes no more than so many bytes.
-- keys: STATE AGAIN STARVED SLEEPERS SLEEPS OUTBOX OUTWARD
-- needs: base frees records sleepers room outbox
-- args: target; through (the number of the last), lends (whether they are there beyond its room); or owes
if args.owes then
    take_back(args.target, args.owes)
end
for _ = 1, args.through and 64 or 0 do
    local prefix = outward_prefix(args.target)
    local place = first_with(OUTWARD, prefix)
    local number = place and tonumber(string.sub(place, #prefix + 1))
    if not number or number > args.through then
        break
    end
    local field = outbox_field(args.target, number)
    local said, bodies = entry_away(redis.call('HGET', OUTBOX, field))
    local messages, nbytes = size_of_all(bodies)
    redis.call('HDEL', OUTBOX, field)
    redis.call('ZREM', OUTWARD, place)
    count('accepted', -messages)
    count('replies', -replies_among(said.pipes, bodies))
    if args.lends then
        lend(args.target, nbytes)
    else
        count('used', -nbytes)
    end
end
tell_of_room()
save()
return 1
