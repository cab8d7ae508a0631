-- What was on its way from another partition comes, each entry once and in their order.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN WAITING WAITS STARVED SLEEPERS SLEEPS CURSORS TALLIES CAME
-- needs: base takes_room records sleepers tallies threads equal tubes absent room pending outbox
-- args: source (a partition), numbers (of the entries), most (bytes beyond which there is no room for new messages)
-- ARGV from 2 on: entries. CURSORS has, by the source, the number of the last that came.
-- Returns that; whether it has to be called again: the index of equal messages of a tube is not complete yet; and whether
-- it is full here: then the room of what came stays taken in its source.
local source = int(args.source)
local last, again = tonumber(redis.call('HGET', CURSORS, source) or 0), 0

-- The bodies that come of an entry (false: nothing of one). nil: see `again`.
local function coming(said, bodies)
    local budget, seen, kept = 4096, {}, {}
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

local is_full = excess(args.most) > 0
for at, number in ipairs(args.numbers) do
    if number > last then
        local said, bodies = entry_away(ARGV[at + 1])
        local _, nbytes = size_of_all(bodies)
        local kept = not state.arriving and coming(said, bodies)
        if not kept then
            again = kept == nil and 1 or 0
            break
        end
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
        is_full = is_full or args.most and figure('used') > args.most
        if is_full then
            count('borrowed', nbytes)
        end
        last = number
    end
end
redis.call('HSET', CURSORS, source, int(last))
commit()
return {last, again, is_full and 1 or 0}
