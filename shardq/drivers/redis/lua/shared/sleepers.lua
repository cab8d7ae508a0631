-- Who sleeps until something happens. SLEEPERS has, sorted as text, what each sleeper waits for and its name; SLEEPS has
-- by its name all that it waits for. The name says which channel wakes it, and with which message: CHANNEL#MESSAGE. A
-- sleeper is woken once.
-- keys: SLEEPERS SLEEPS
local WORK, ANY_WORK, ROOM, QUIET, ALL_DONE = 'work\0', 'work\0*', 'room', 'quiet', 'all done'

local function lie_down(name, events)
    redis.call('HSET', SLEEPS, name, cmsgpack.pack(events))
    for _, event in ipairs(events) do
        redis.call('ZADD', SLEEPERS, 0, event .. '\0' .. name)
    end
end

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

-- Returns whether its process hears it: a process that died does not.
local function ring(name)
    get_up(name)
    local channel, number = string.match(name, '^(.*)#(.*)$')
    -- A channel with a hash tag is one of this slot in a cluster.
    return redis.call(string.find(channel, '{', 1, true) and 'SPUBLISH' or 'PUBLISH', channel, number) > 0
end

local function wake_one(event)
    for _ = 1, 64 do
        local found = first_with(SLEEPERS, event .. '\0')
        if not found then
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

-- After how many seconds a sleeper looks for what no wake-up told it of. Those that wait for the same events take turns,
-- one each second, in the order of their names. The second begins at another instant for other events.
local function next_look(name, events)
    local event = '' -- the first of them, in whatever order they were given
    for place, other in ipairs(events) do
        event = (place == 1 or other < event) and other or event
    end
    local first = '[' .. event .. '\0'
    local number = math.max(1, redis.call('ZLEXCOUNT', SLEEPERS, first, '(' .. event .. '\0\255'))
    local place = redis.call('ZLEXCOUNT', SLEEPERS, first, '(' .. event .. '\0' .. name)
    local seconds = (now + tonumber(string.sub(redis.sha1hex(SLEEPERS .. event), 1, 5), 16)) / 1000000
    local turn = math.floor(seconds) + 1
    return turn + (place - turn) % number - seconds
end
