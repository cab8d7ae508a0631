-- Which thread is next. READY has the threads that can be claimed, sorted as text: handler, turn, key.

-- The place in READY of the first thread of a handler.
local function first_of(handler)
    return first_with(READY, handler .. '\0')
end

-- The first place in READY of each handler that has one there, of those that are served (nil: all) and not paused.
local function first_places(served)
    local found = {}
    if served and #served <= 8 then
        for _, handler in ipairs(served) do
            found[#found + 1] = not is_paused(handler) and first_of(handler) or nil
        end
        return found
    end
    local among
    if served then
        among = {}
        for _, handler in ipairs(served) do
            among[handler] = true
        end
    end
    local from = '-'
    while true do
        local place = redis.call('ZRANGEBYLEX', READY, from, '+', 'LIMIT', 0, 1)[1]
        if not place then
            return found
        end
        local handler = string.match(place, '^([^%z]*)')
        if (not among or among[handler]) and not is_paused(handler) then
            found[#found + 1] = place
        end
        from = '(' .. handler .. '\1'
    end
end

-- The thread whose turn it is, nil where none is ready, and its turn.
local function next_ready(served)
    if state.arriving then
        return nil
    end
    local first_turn, first_key
    for _, place in ipairs(first_places(served)) do
        local turn, key = string.match(place, '^[^%z]*%z(%d+)%z(.*)$')
        if not first_turn or turn < first_turn then
            first_turn, first_key = turn, key
        end
    end
    return first_key, first_turn
end

-- What a sleeper waits for that serves these handlers.
local function work_events(served)
    if not served then
        return {ANY_WORK}
    end
    local events = {}
    for place, handler in ipairs(served) do
        events[place] = WORK .. handler
    end
    return events
end
