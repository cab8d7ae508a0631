-- Results that are kept for tickets: each in the partition of its request, so that it comes in the step in which that
-- leaves. `terms`: most (results there may be), most_bytes, age_us, capacity, partition, partitions.
-- keys: none of its own

-- The place before which results are too old.
local function oldest_place(terms)
    return place_of(KEPT, math.max(0, math.floor((now - terms.age_us) / terms.partitions)) * terms.partitions)
end

-- Drop results that are too old, and the oldest that so many more, of so many bytes, take the place of: as many as a short
-- script can. Returns what `make_room` does.
local function make_room_for_results(terms, number, nbytes, capacity)
    local old = redis.call(
        'ZRANGEBYLEX', GRAVES, '[' .. place_of(KEPT, 0), '(' .. oldest_place(terms), 'LIMIT', 0, MOST_DROPPED
    )
    local dropped = drop_letters(KEPT, old)
    if #old == MOST_DROPPED then
        return dropped, false
    end
    local bound = {capacity = capacity, most_letters = terms.most - number + 1, most_bytes = number > 0 and terms.most_bytes}
    local more, has_room = make_room(KEPT, nbytes, bound)
    return more and dropped + more, has_room
end
