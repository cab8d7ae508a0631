-- What a supervisor says of the claims of its workers, or a worker of its own.
-- keys: STATE THREADS LIVE READY TIMERS OWNERS SLEEPERS SLEEPS FAMILIES GONE TALLIES CAME
-- needs: base frees sleepers tallies threads families
-- args: owners; one of: lease_us (their claims live on), excused (their end is planned), ending (they are dead: how they
--   ended), kept (the owner knows of the claims with these tokens only: it releases the others); family (what it says of
--   itself: see shared/families.lua)
-- Returns for each owner how many claims it had, and how many messages it had in hand.
local found, is_kept = {}, {}
for _, token in ipairs(args.kept or {}) do
    is_kept[token] = true
end
if args.family then
    note_family(args.family)
end
for place, owner in ipairs(args.owners) do
    local claims, in_hand, after = 0, 0, nil
    while true do
        local member = first_with(OWNERS, owner .. '\0', after)
        if not member then
            break
        end
        local key = string.sub(member, #owner + 2)
        local its = thread(key)
        after = member
        if its.owner == owner then
            claims = claims + 1
            for _, tube in pairs(its.tubes) do
                in_hand = in_hand + (tube.handed_to == its.token and tube.handed_count or 0)
            end
            if args.lease_us then
                if its.lease_end > now + args.lease_us then
                    redis.call('ZADD', TIMERS, now + args.lease_us, key)
                end
                its.lease_end = now + args.lease_us
            elseif args.excused then
                its.excused = true
            elseif args.kept then
                if not is_kept[its.token] then
                    end_claim(key, its)
                end
            else
                end_claim_of_dead(key, its, args.ending)
            end
        end
    end
    found[place] = {claims, in_hand}
end
commit()
return found
