-- Batches by the terms of a handler: see `Storage.take`.

-- See `shardq.model.in_turn`.
local function in_turn(priorities, turn, starvation_limit)
    local number = #priorities
    if not starvation_limit or number < 2 then
        return priorities
    end
    local every = math.max(1, math.floor(starvation_limit / number))
    if (turn + 1) % every ~= 0 then
        return priorities
    end
    local first, turned = math.floor(turn / every) % number, {}
    for place = 1, number do
        turned[place] = priorities[(first + place - 1) % number + 1]
    end
    return turned
end

-- A batch of the thread; nil where it has none, without terms, and where its handler is paused.
local function hand_out(key, its, terms)
    if not terms or its.queued == 0 or state.arriving or is_paused(handler_of(key)) then
        return nil
    end
    for _, priority in ipairs(in_turn(terms.priorities, its.batches, terms.starvation_limit)) do
        for _, name in ipairs({'f' .. priority, priority}) do
            local batch = take(its, name, terms.limit)
            if batch then
                batch.name = name
                its.batches = its.batches + 1
                return batch
            end
        end
    end
end

-- What is said of a batch: what it is, then its records.
local function reply_with(key, its, batch)
    local told = {key = key, token = its.token}
    if not batch then
        return {cmsgpack.pack(told)}
    end
    told.name, told.failed, told.taken_us = batch.name, batch.failed, now
    table.insert(batch.records, 1, cmsgpack.pack(told))
    return batch.records
end
