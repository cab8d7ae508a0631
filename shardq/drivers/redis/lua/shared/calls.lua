-- Calls whose answer was lost are made again. CALLS has for each producer the numbers of its calls that may be made
-- again, and what they returned; CALLS_OLD those of producers that made none since CALLS was begun.
-- keys: CALLS CALLS_OLD
-- args: producer, call (its number), oldest (the number of the oldest call that is not answered yet)
local PRODUCERS = 1024
local calls

-- What this call returned when it was made before, as `{result}`; nil: it was not.
local function made_before()
    local producer, number = args.producer, args.call
    if not producer then
        return nil
    end
    local stored = redis.call('HGET', CALLS, producer) or redis.call('HGET', CALLS_OLD, producer)
    calls = stored and cmsgpack.unpack(stored) or {}
    for _, made in ipairs(calls) do
        if made[1] == number then
            return {made[2]}
        end
    end
end

-- Note what this call returns, and return it.
local function note_call(result)
    if args.producer then
        local kept = {{args.call, result}}
        for _, made in ipairs(calls) do
            if made[1] >= args.oldest then
                kept[#kept + 1] = made
            end
        end
        local is_new = redis.call('HSET', CALLS, args.producer, cmsgpack.pack(kept)) == 1
        if is_new and redis.call('HLEN', CALLS) > PRODUCERS then
            redis.call('RENAME', CALLS, CALLS_OLD)
        end
    end
    return result
end
