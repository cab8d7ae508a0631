-- What was on its way comes into its tubes.
-- keys: none of its own

-- Whether each message of an entry is looked at.
local function is_examined(said)
    return said.absent ~= nil or said.due_us ~= nil
end

-- The bodies that come of an entry (false: nothing of one). nil: the index of equal messages of a tube is not complete yet.
local function coming(said, bodies)
    local budget, seen, kept = 1024, {}, {}
    for place, pipe in ipairs(said.absent and said.pipes or {}) do
        if said.absent[place] then
            local key, name = split_pipe(pipe)
            local its = thread(key)
            budget = index(its, 'f' .. name, index(its, name, budget))
            if budget <= 0 then
                return nil
            end
        end
    end
    for place, pipe in ipairs(said.pipes) do
        kept[place] = bodies[place]
        if said.absent and said.absent[place] then
            local messages = absent_of(pipe, bodies[place], seen)
            kept[place] = #messages > 0 and body_of(messages)
        elseif said.absent then
            for _, message in ipairs(messages_in(bodies[place])) do
                seen[pipe .. '\0' .. untraced(message)] = true
            end
        end
    end
    return kept
end

-- Store what comes of an entry.
local function store_entry_away(said, kept)
    for place, pipe in ipairs(said.pipes) do
        local body, due_us = kept[place], said.due_us and said.due_us[place]
        if body and due_us then
            defer(pipe, body, due_us)
        elseif body and said.front then
            local key, name = split_pipe(pipe)
            add(key, thread(key), 'f' .. name, body)
        elseif body then
            arrive(pipe, body, said.absent and said.absent[place])
        end
    end
end
