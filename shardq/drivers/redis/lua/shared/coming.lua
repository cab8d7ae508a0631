-- What was on its way comes into its tubes.
-- keys: none of its own

-- Whether each message of an entry is looked at.
local function is_examined(said)
    return said.absent ~= nil or said.due_us ~= nil
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
