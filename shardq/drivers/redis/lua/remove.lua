-- Equal messages leave a tube: `Storage.remove`.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL WAITS AGAIN STARVED SLEEPERS SLEEPS CALLS CALLS_OLD TALLIES CAME
-- needs: base frees records sleepers tallies threads equal tubes room calls
-- args: key, name, from (a number; nil: from the head), below (nil: the end), producer, call
-- ARGV from 2 on: messages. Returns how many left, where to go on (0: all is done), and where the end is.
local done = done_before()
if done then
    return done
end
if state.arriving then
    return {0, 0, 0}
end
local its, unwanted = thread(args.key), {}
local tube = its.tubes[args.name]
if not tube or tube.count == 0 then
    commit()
    return {0, 0, 0}
end
for place = 2, #ARGV do
    unwanted[untraced(ARGV[place])] = true
end
-- A message that is looked for takes as long as one that is looked at.
local below, budget, go_on = args.below or tube.next, 10000 - #ARGV, 0
-- A message that leaves takes so much longer than one that is looked at.
local LEAVES = 8
local from = math.max(tube.head, in_hand_below(its, tube), args.from or 0)
local removed, nbytes, rewritten = 0, 0, {}

-- The records of a chunk without what is unwanted from `from` on. nil: nothing of it is.
local function without(chunk)
    local kept, at, gone = {}, 1, 0
    while at <= #chunk do
        local found = record(chunk, at)
        local messages, start = messages_of(chunk, found), 0
        for place, message in ipairs(messages) do
            local number = found.first + place - 1
            if number >= from and number < below and unwanted[untraced(message)] then
                gone, nbytes = gone + 1, nbytes + #message
                if tube.indexed and number < tube.indexed then
                    note_equal(its, args.name, {message}, -1)
                end
                if place - 1 > start then
                    kept[#kept + 1] = part_of(chunk, found, start, place - 1 - start)
                end
                start = place
            end
        end
        if start < found.count then
            kept[#kept + 1] = part_of(chunk, found, start, found.count - start)
        end
        at = found.after
    end
    if gone == 0 then
        return nil
    end
    removed = removed + gone
    -- An empty record keeps the chunk's place.
    return #kept > 0 and table.concat(kept) or struct.pack('<I8I4I4', record(chunk, 1).first, 0, 0)
end

local seen
each_record(its, args.name, tube, from, function(chunk, found, place)
    if found.first >= below then
        return true
    end
    if place ~= seen then
        if budget <= 0 then
            go_on = found.first
            return true
        end
        seen = place
        local before = removed
        rewritten[place] = without(chunk)
        budget = budget - LEAVES * (removed - before)
    end
    budget = budget - found.count
end)
for place, chunk in pairs(rewritten) do
    redis.call('HSET', CHUNKS, chunk_field(its, args.name, place), chunk)
    if place == tube.last then
        tube.tail = #chunk
    end
end
if removed > 0 then
    tube.count = tube.count - removed
    if tube.count == 0 then
        drop_chunks(its, args.name, tube.first, tube.last)
        tube.first, tube.head, tube.full, go_on = tube.last + 1, tube.next, nil, 0
    end
    left(args.key, its, removed, nbytes)
    tally_some(CANCELLED, handler_of(args.key), removed)
    tell_of_room()
end
note_call({removed, go_on, below})
commit()
return {removed, go_on, below}
