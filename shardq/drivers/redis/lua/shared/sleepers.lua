-- Who sleeps until something happens. SLEEPERS has, sorted as text, what each sleeper waits for and its name; SLEEPS has
-- by its name all that it waits for. The name says which channel wakes it, and with which message: CHANNEL#MESSAGE. A
-- sleeper is woken once.
-- keys: SLEEPERS SLEEPS
local WORK, ANY_WORK, ROOM, QUIET, ALL_DONE = 'work\0', 'work\0*', 'room', 'quiet', 'all done'

-- Events for which this script found that none sleeps: many threads may get work in one call.
local unheard = {}

-- Returns whether it slept.
local function get_up(name)
    local events = redis.call('HGET', SLEEPS, name)
    if not events then
        return false
    end
    redis.call('HDEL', SLEEPS, name)
    for _, event in ipairs(cmsgpack.unpack(events)) do
        redis.call('ZREM', SLEEPERS, event .. '\0' .. name)
    end
    return true
end

local function lie_down(name, events)
    -- Where the answer to a call was lost, and it is made again, the sleeper lies there already, in another span.
    get_up(name)
    redis.call('HSET', SLEEPS, name, cmsgpack.pack(events))
    for _, event in ipairs(events) do
        unheard[event] = nil
        redis.call('ZADD', SLEEPERS, 0, event .. '\0' .. name)
    end
end

-- Returns whether its process hears it: a process that died does not.
local function ring(name)
    get_up(name)
    local channel, number = string.match(name, '^(.*)#(.*)$')
    -- A channel with a hash tag is one of this slot in a cluster.
    return redis.call(string.find(channel, '{', 1, true) and 'SPUBLISH' or 'PUBLISH', channel, number) > 0
end

local function wake_one(event)
    for _ = 1, unheard[event] and 0 or 64 do
        local found = first_with(SLEEPERS, event .. '\0')
        if not found then
            unheard[event] = true
            return false
        end
        if ring(string.sub(found, #event + 2)) then
            return true
        end
    end
    return false
end

local function wake_all(event)
    for _ = 1, 10000 do
        local found = first_with(SLEEPERS, event .. '\0')
        if not found then
            return
        end
        ring(string.sub(found, #event + 2))
    end
end

-- Wake so many at most of those that wait for room. They take turns; one that finds room wakes another.
local function wake_for_room(most)
    for _ = 1, 4 * most do
        local found = first_with(SLEEPERS, ROOM .. '\0', state.woken) or first_with(SLEEPERS, ROOM .. '\0')
        if not found or most == 0 then
            return
        end
        state.woken = found
        most = most - (ring(string.sub(found, #ROOM + 2)) and 1 or 0)
    end
end

-- Wake all, whatever they sleep for.
local function wake_everyone()
    for _ = 1, 100000 do
        local found = redis.call('ZRANGE', SLEEPERS, 0, 0)[1]
        if not found then
            return
        end
        ring(string.match(found, '([^%z]*)$'))
    end
end

-- Wake one that serves the handler.
local function wake_for(handler)
    return wake_one(WORK .. handler) or wake_one(ANY_WORK)
end

-- Wake one that waits for work of any handler, so that it reckons with an instant.
local function wake_timekeeper()
    for _ = 1, 64 do
        local found = first_with(SLEEPERS, WORK)
        if not found or ring(string.match(found, '^work%z[^%z]*%z(.*)$')) then
            return
        end
    end
end

-- Lie down until there is work, or room. Returns after how many microseconds the sleeper looks for what no wake-up told it of.
-- Those that wait for the same take turns, one in each span of `args.net_us`: each has the first span that is to come and
-- that none of the others has. The spans of those that wait for something else begin at other instants; those of the same
-- sleepers in other partitions at the same, so that one of them looks at all.
local LOOK = 'look\0'
local function lie_down_in_turn(name, events)
    table.sort(events) -- they come in any order
    local group = redis.sha1hex(table.concat(events, '\0'))
    local spans = LOOK .. group .. '\0' .. int(args.net_us) .. '\0'
    local at = now / args.net_us + tonumber(string.sub(group, 1, 5), 16) / 1048576
    local next = math.floor(at) + 1
    local function taken_before(span)
        return redis.call('ZLEXCOUNT', SLEEPERS, '[' .. spans .. sortable(next), '(' .. spans .. sortable(span))
    end
    local free, most = next, next + taken_before(1e15)
    while free < most do
        local middle = math.floor((free + most) / 2)
        if taken_before(middle + 1) > middle - next then
            free = middle + 1
        else
            most = middle
        end
    end
    events[#events + 1] = spans .. sortable(free)
    lie_down(name, events)
    return (free - at) * args.net_us
end
