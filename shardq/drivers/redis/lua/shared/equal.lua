-- Which messages are in a tube, and which wait for their time. EQUAL counts equal messages of a tube, from the first
-- time on that its equal messages are asked for: `tube.indexed` says below which number it has them. WAITS has, sorted as
-- text, each message that waits, and the number of the entry that it is in.
-- keys: EQUAL WAITS
local ONCE, AGAIN_AND_AGAIN = 'once\0', 'again\0'

local function digest(message)
    message = untraced(message)
    if #message <= 40 then
        return #message .. ':' .. message
    end
    return '#' .. redis.sha1hex(message)
end

-- The fields of EQUAL for messages of a tube. The two tubes of a priority share their counts.
local function equal_fields(its, name, messages)
    local prefix, fields = int(its.id) .. ':' .. string.gsub(name, '^f', '') .. '\0', {}
    for place, message in ipairs(messages) do
        fields[place] = prefix .. digest(message)
    end
    return fields
end

-- Count them, `by` 1 or -1, a few hundred in one command.
local function note_equal(its, name, messages, by)
    local fields, AT_ONCE = equal_fields(its, name, messages), 500
    for from = 1, #fields, AT_ONCE do
        local some, counts, stay, gone = {unpack(fields, from, math.min(#fields, from + AT_ONCE - 1))}, {}, {}, {}
        for place, before in ipairs(redis.call('HMGET', EQUAL, unpack(some))) do
            counts[some[place]] = (counts[some[place]] or tonumber(before or 0)) + by
        end
        for field, now_there in pairs(counts) do
            if now_there == 0 then
                gone[#gone + 1] = field
            else
                stay[#stay + 1], stay[#stay + 2] = field, int(now_there)
            end
        end
        if stay[1] then
            redis.call('HSET', EQUAL, unpack(stay))
        end
        if gone[1] then
            redis.call('HDEL', EQUAL, unpack(gone))
        end
    end
end

local function waits_prefix(kind, pipe, message)
    return kind .. pipe .. '\0' .. digest(message) .. '\0'
end

-- The number of an entry in which an equal message waits.
local function waiting_entry(kind, pipe, message)
    local prefix = waits_prefix(kind, pipe, message)
    local found = first_with(WAITS, prefix)
    return found and string.sub(found, #prefix + 1)
end
