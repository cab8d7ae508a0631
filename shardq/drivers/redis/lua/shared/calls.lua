-- Calls whose answer was lost are made again. CALLS has for each producer which of its calls may be made again, as the
-- latest of them said; whether results are apart; and results: number, result, and so on. Where many may be made again, most
-- results are apart, by groups of GROUP numbers. CALLS_OLD has those of producers that made none since CALLS was begun.
-- keys: CALLS CALLS_OLD
-- args: producer, call (its number), open (the numbers of the calls that are not answered yet, this one the last: the
--   first and the last of each span)
local PRODUCERS, GROUP = 1024, 8
local known, are_apart, results, known_in = {}, false, {}, nil

local function group_of(number)
    return math.floor(number / GROUP)
end

local function group_field(group)
    return args.producer .. ':' .. int(group)
end

-- Whether a call may be made that was not made before, by what is known.
local function is_open(number)
    for place = 1, #known, 2 do
        if number <= known[place + 1] then
            return number >= known[place]
        end
    end
    return true
end

-- What this call returned, as `{result}`, where that stands in `some`, which is `stored` in this field.
local function returned(some, field, stored)
    for place = 1, #some, 2 do
        if some[place] == args.call then
            -- Written anew, so that copies of this confirm copies of what the call did.
            redis.call('HDEL', SLEEPS, '')
            redis.call('HSET', known_in, field, stored)
            return {some[place + 1]}
        end
    end
end

-- What this call returned when it was made before, as `{result}`; nil: it was not. One that comes late, when its producer
-- has given it up or has its answer, is refused. In a script that a server without memory refuses, this comes before the
-- command that it refuses.
local function made_before()
    local producer = args.producer
    if not producer then
        return nil
    end
    local stored = redis.call('HGET', CALLS, producer)
    known_in = stored and CALLS or CALLS_OLD
    stored = stored or redis.call('HGET', CALLS_OLD, producer)
    if not stored then
        return nil
    end
    known, are_apart, results = cmsgpack.unpack(stored)
    local before = returned(results, producer, stored)
    if are_apart and not before then
        local field = group_field(group_of(args.call))
        local apart = redis.call('HGET', known_in, field)
        before = apart and returned(cmsgpack.unpack(apart), field, apart)
    end
    if not before and not is_open(args.call) then
        error('LATE: this call was answered or given up')
    end
    return before or nil
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

local function forget_groups(from, through)
    for first = from, through, 100 do
        local fields = {}
        for group = first, math.min(through, first + 99) do
            fields[#fields + 1] = group_field(group)
        end
        redis.call('HDEL', CALLS, unpack(fields))
    end
end

-- Forget the groups in which none of these is open.
local function forget_answered(open)
    local at = 1
    for place = 1, #known, 2 do
        local group, last = group_of(known[place]), group_of(known[place + 1])
        while group <= last do
            while group_of(open[at + 1]) < group do
                at = at + 2
            end
            local stays = group_of(open[at])
            if stays <= group then
                group = group_of(open[at + 1]) + 1
            else
                forget_groups(group, math.min(last, stays - 1))
                group = stays
            end
        end
    end
    if open[1] == args.call then
        forget_groups(group_of(args.call), group_of(args.call))
        are_apart = false
    end
end

-- The producer calls again since CALLS was begun.
local function bring_up()
    for place = 1, #known, 2 do
        for group = group_of(known[place]), group_of(known[place + 1]) do
            local stored = redis.call('HGET', CALLS_OLD, group_field(group))
            if stored then
                redis.call('HSET', CALLS, group_field(group), stored)
            end
        end
    end
end

local function put_apart(some)
    local groups = {}
    for place = 1, #some, 2 do
        local field = group_field(group_of(some[place]))
        groups[field] = groups[field] or cmsgpack.unpack(redis.call('HGET', CALLS, field) or '\144')
        table.insert(groups[field], some[place])
        table.insert(groups[field], some[place + 1])
    end
    for field, all in pairs(groups) do
        redis.call('HSET', CALLS, field, cmsgpack.pack(all))
    end
    are_apart = true
end

-- Note what this call returns, and return it.
local function note_call(result)
    if not args.producer then
        return result
    end
    if are_apart and known_in == CALLS_OLD then
        bring_up()
    end
    if args.call > (known[#known] or 0) then
        if are_apart then
            forget_answered(args.open)
        end
        known = args.open
    end
    local kept = {args.call, result}
    for place = 1, #results, 2 do
        if is_open(results[place]) then
            kept[#kept + 1], kept[#kept + 2] = results[place], results[place + 1]
        end
    end
    if #kept > 2 * GROUP then
        put_apart(kept)
        kept = {}
    end
    local is_new = redis.call('HSET', CALLS, args.producer, cmsgpack.pack(known, are_apart, kept)) == 1
    count('producers', is_new and 1 or 0)
    if figure('producers') > PRODUCERS then
        redis.call('UNLINK', CALLS_OLD)
        redis.call('RENAME', CALLS, CALLS_OLD)
        state.producers = nil
    end
    return result
end
