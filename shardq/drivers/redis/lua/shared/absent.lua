-- Which of the messages of a call are stored: with `absent`, those that have no equal.
-- keys: none of its own
-- Count equal messages of a tube that were not counted yet, so many at most. Returns how many may be counted yet.
local function index(its, name, budget)
    local tube = its.tubes[name]
    if not tube then
        return budget
    end
    tube.indexed = tube.indexed or tube.head
    if tube.indexed >= tube.next then
        return budget
    end
    each_record(its, name, tube, tube.indexed, function(chunk, found)
        local skip, messages = math.max(0, tube.indexed - found.first), messages_of(chunk, found)
        local some = {}
        for place = skip + 1, found.count do
            some[#some + 1] = messages[place]
        end
        note_equal(its, name, some, 1)
        tube.indexed, budget = found.first + found.count, budget - #some
        return budget <= 0
    end)
    if budget > 0 then
        tube.indexed = tube.next
    end
    return budget
end

-- The messages of a body that have no equal, each once.
local function absent_of(pipe, body, seen)
    local key, name = split_pipe(pipe)
    local its, found, messages = thread(key), {}, messages_in(body)
    -- A body has few messages: all are looked up at once.
    local counted = its.id and redis.call('HMGET', EQUAL, unpack(equal_fields(its, name, messages))) or {}
    local some_wait = redis.call('EXISTS', WAITS) == 1
    for place, message in ipairs(messages) do
        local mark = pipe .. '\0' .. untraced(message)
        local there = counted[place] or seen[mark]
        if not there and not (some_wait and waiting_entry(ONCE, pipe, message)) then
            seen[mark] = true
            found[#found + 1] = message
        end
    end
    return found
end

-- What is stored of bodies for these pipes: of `asked` its pipes, and `absent` (by place, nil: none must be). Returns the
-- bodies (false: there is nothing of one). nil: the index of equal messages of a tube is not complete yet.
local function wanted_of(asked, bodies)
    local kept, budget, seen, absent = {}, 1024, {}, asked.absent
    for place, pipe in ipairs(absent and asked.pipes or {}) do
        if absent[place] then
            local key, name = split_pipe(pipe)
            local its = thread(key)
            budget = index(its, 'f' .. name, index(its, name, budget))
            if budget <= 0 then
                return nil
            end
        end
    end
    for place, pipe in ipairs(asked.pipes) do
        kept[place] = bodies[place]
        if absent and absent[place] then
            local messages = absent_of(pipe, bodies[place], seen)
            kept[place] = #messages > 0 and body_of(messages)
        elseif absent then
            for _, message in ipairs(messages_in(bodies[place])) do
                seen[pipe .. '\0' .. untraced(message)] = true
            end
        end
    end
    return kept
end

-- What of a call is stored, as `wanted_of`; the body of the first pipe is behind argument number `before`. Returns the
-- bodies, how many messages they have and how many bytes. nil: as there.
local function wanted_bodies(asked, before)
    local bodies, number, nbytes = {}, 0, 0
    for place in ipairs(asked.pipes) do
        bodies[place] = ARGV[place + before]
    end
    local kept = wanted_of(asked, bodies)
    for place in ipairs(kept and asked.pipes or {}) do
        if kept[place] then
            local some, their_bytes = size_of(kept[place])
            number, nbytes = number + some, nbytes + their_bytes
        end
    end
    return kept, number, nbytes
end
