-- Calls whose answer was lost are made again. CALLS has for each producer the number of the oldest call that it may make
-- again, and its calls from there on: their numbers, and what they returned. CALLS_OLD has those of producers that made
-- none since CALLS was begun.
-- keys: CALLS CALLS_OLD
-- args: producer, call (its number), oldest (the number of the oldest call that is not answered yet)
local PRODUCERS = 1024
local calls

-- What this call returned when it was made before, as `{result}`; nil: it was not. One that comes late, when its producer
-- has given it up or has its answer, is refused. In a script that a server without memory refuses, this comes before the
-- command that it refuses.
local function made_before()
    local producer, number = args.producer, args.call
    if not producer then
        return nil
    end
    local stored = redis.call('HGET', CALLS, producer) or redis.call('HGET', CALLS_OLD, producer)
    calls = stored and cmsgpack.unpack(stored) or {0}
    for place = 2, #calls do
        if calls[place][1] == number then
            -- Written anew, so that copies of this confirm copies of what the call did.
            redis.call('HDEL', SLEEPS, '')
            redis.call('HSET', CALLS, producer, stored)
            return {calls[place][2]}
        end
    end
    if number < calls[1] then
        error('LATE: this call was answered or given up')
    end
end

-- What a script returns that does nothing more: what this call returned when it was made before, or that the content goes
-- elsewhere. nil: it has to do it.
local function done_before()
    local before = made_before()
    if before then
        return before[1]
    end
    return state.leaving and redis.error_reply('LEFT ' .. state.leaving)
end

-- Note what this call returns, and return it.
local function note_call(result)
    if args.producer then
        local oldest = math.max(calls[1], args.oldest)
        local kept = {oldest, {args.call, result}}
        for place = 2, #calls do
            if calls[place][1] >= oldest then
                kept[#kept + 1] = calls[place]
            end
        end
        local is_new = redis.call('HSET', CALLS, args.producer, cmsgpack.pack(kept)) == 1
        if is_new and redis.call('HLEN', CALLS) > PRODUCERS then
            redis.call('RENAME', CALLS, CALLS_OLD)
        end
    end
    return result
end
