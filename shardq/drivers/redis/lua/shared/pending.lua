-- What waits for its time. An entry is messages of one pipe: WAITING has it by its number, DUE (once) or AGAIN (again
-- and again) when it is due.
-- keys: DUE AGAIN WAITING WAITS

-- When something is due next, or a lease or a pause ends, of a thread or of a handler.
local function next_instant()
    if state.arriving then
        return nil
    end
    local first
    for _, key in ipairs({DUE, AGAIN, TIMERS}) do
        local found = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
        if found and (not first or tonumber(found) < first) then
            first = tonumber(found)
        end
    end
    for _, its in pairs(state.pauses or {}) do
        first = its.until_us and math.min(first or its.until_us, its.until_us) or first
    end
    return first
end

-- When the next is due.
local function next_due()
    if state.arriving then
        return nil
    end
    local once = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
    local again = redis.call('ZRANGE', AGAIN, 0, 0, 'WITHSCORES')[2]
    if once and again then
        return math.min(tonumber(once), tonumber(again))
    end
    return tonumber(once or again or nil)
end

-- How many in DUE, AGAIN or STARVED are due before that time, or at it under a number that is not greater.
local function rank_behind(key, due_us, number)
    local low, high = 0, redis.call('HLEN', WAITING)
    while low < high do
        local middle = math.floor((low + high) / 2)
        local there = redis.call('ZRANGE', key, middle, middle, 'WITHSCORES')
        local its_due_us = tonumber(there[2] or math.huge)
        if its_due_us < due_us or (its_due_us == due_us and there[1] <= number) then
            low = middle + 1
        else
            high = middle
        end
    end
    return low
end

-- Wake one that reckons with an instant which is earlier than those that were known.
local function reckon_with(instant, before)
    if not before or instant < before then
        wake_timekeeper()
    end
end

-- An entry is stored as what is said of it, after the size of that (4 bytes), and the body.
local function entry_in(stored)
    local size = struct.unpack('<I4', stored)
    local entry = cmsgpack.unpack(string.sub(stored, 5, 4 + size))
    entry.body = string.sub(stored, 5 + size)
    return entry
end

local function entry_of(number)
    local stored = redis.call('HGET', WAITING, number)
    return stored and entry_in(stored)
end

local function store_entry(number, entry)
    local said = cmsgpack.pack({
        pipe = entry.pipe, due_us = entry.due_us, schedule = entry.schedule, places = entry.places,
    })
    redis.call('HSET', WAITING, number, struct.pack('<I4', #said) .. said .. entry.body)
end

local function new_entry(kind, set, pipe, body, due_us, schedule)
    state.entries = math.max(figure('entries') + 1, latest) -- see tubes.lua
    local number = sortable(state.entries)
    local entry = {pipe = pipe, body = body, due_us = due_us, schedule = schedule}
    store_entry(number, entry)
    redis.call('ZADD', set, due_us, number)
    for _, message in ipairs(messages_in(body)) do
        redis.call('ZADD', WAITS, 0, waits_prefix(kind, pipe, message) .. number)
    end
end

local function forget_entry(kind, set, number, entry)
    redis.call('HDEL', WAITING, number)
    redis.call('ZREM', set, number)
    for _, message in ipairs(messages_in(entry.body)) do
        redis.call('ZREM', WAITS, waits_prefix(kind, entry.pipe, message) .. number)
    end
end

-- The place in its entry by which a message is known for as long as it waits: from 0, as they were accepted. Where some
-- have left, `entry.places` has those of the others.
local function place_in(entry, at)
    return entry.places and entry.places[at] or at - 1
end

-- The messages of an entry of DUE for which `leaves` is true leave it. Returns them, and how many bytes they have.
local function leave_entry(number, entry, leaves)
    local kept, places, stays, gone, nbytes = {}, {}, {}, {}, 0
    for at, message in ipairs(messages_in(entry.body)) do
        if leaves(place_in(entry, at), message) then
            gone[#gone + 1], nbytes = message, nbytes + #message
        else
            kept[#kept + 1], places[#places + 1], stays[untraced(message)] = message, place_in(entry, at), true
        end
    end
    for _, message in ipairs(gone) do
        if not stays[untraced(message)] then
            redis.call('ZREM', WAITS, waits_prefix(ONCE, entry.pipe, message) .. number)
        end
    end
    if #kept == 0 then
        redis.call('HDEL', WAITING, number)
        redis.call('ZREM', DUE, number)
    elseif #gone > 0 then
        entry.body, entry.places = body_of(kept), places
        store_entry(number, entry)
    end
    count('deferred', -#gone)
    return gone, nbytes
end

-- Messages that were stored already come into their tube.
local function come(pipe, body)
    local _, nbytes = size_of(body)
    count('used', -nbytes)
    arrive(pipe, body)
end

-- Move messages that are due once into their tubes, so many or somewhat more. Those of schedules need `come.lua`: only
-- the client can read a calendar.
local function promote()
    local left_to_move = state.arriving and 0 or 256
    while left_to_move > 0 do
        local found = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, 16)
        if not found[1] then
            return
        end
        for _, number in ipairs(found) do
            if left_to_move <= 0 then
                return
            end
            local entry = entry_of(number)
            forget_entry(ONCE, DUE, number, entry)
            local moved = size_of(entry.body)
            count('deferred', -moved)
            left_to_move = left_to_move - moved
            come(entry.pipe, entry.body)
        end
    end
end

-- Messages come at an instant, once.
local function defer(pipe, body, due_us)
    local earliest = next_instant()
    local number, nbytes = size_of(body)
    new_entry(ONCE, DUE, pipe, body, due_us)
    count('deferred', number)
    count('used', nbytes)
    if due_us > now then
        reckon_with(due_us, earliest)
    else
        promote()
    end
end

local function schedule_is_due()
    return not state.arriving and redis.call('ZRANGEBYSCORE', AGAIN, '-inf', now, 'LIMIT', 0, 1)[1] ~= nil
end
