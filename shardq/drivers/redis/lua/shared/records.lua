-- How messages lie in a chunk. A record: the number of its first message (8 bytes) and a body. A body: how many
-- messages (4 bytes; with the highest bit set a length has 4 bytes, else 2), how many bytes they have (4 bytes), their
-- lengths, and the messages. The numbers of a record follow one another.
local WIDE = 2147483648

-- A message without the trace context in front of it (`shardq/model/trace.py`): what equal messages have in common.
local function untraced(message)
    local mark, kind, low, high = string.byte(message, 1, 4)
    if mark ~= 193 or (kind ~= 84 and kind ~= 85) or not high then
        return message
    end
    local size = low + 256 * high
    if size < 25 or #message < 4 + size then
        return message
    end
    return string.sub(message, 5 + size)
end

local function unpacked_count(number)
    if number >= WIDE then
        return number - WIDE, 4
    end
    return number, 2
end

local function record(chunk, at)
    local first, packed, nbytes = struct.unpack('<I8I4I4', chunk, at)
    local number, width = unpacked_count(packed)
    local payload = at + 16 + width * number
    return {
        first = first, count = number, nbytes = nbytes, width = width,
        at = at, lengths = at + 16, payload = payload, after = payload + nbytes,
    }
end

-- How many messages a body has, and how many bytes they have.
local function size_of(body)
    local packed, nbytes = struct.unpack('<I4I4', body)
    return unpacked_count(packed), nbytes
end

-- Bytes of `number` messages of a record, from the one behind the first `skip`.
local function bytes_of(chunk, its, skip, number)
    if skip == 0 and number == its.count then
        return its.nbytes
    end
    local total, format = 0, its.width == 2 and '<I2' or '<I4'
    for place = skip, skip + number - 1 do
        total = total + struct.unpack(format, chunk, its.lengths + place * its.width)
    end
    return total
end

-- `number` messages of a record, from the one behind the first `skip`, as a record.
local function part_of(chunk, its, skip, number)
    if skip == 0 and number == its.count then
        return string.sub(chunk, its.at, its.after - 1)
    end
    local begin = its.payload + bytes_of(chunk, its, 0, skip)
    local nbytes = bytes_of(chunk, its, skip, number)
    local lengths = its.lengths + skip * its.width
    return struct.pack('<I8I4I4', its.first + skip, its.width == 4 and number + WIDE or number, nbytes)
        .. string.sub(chunk, lengths, lengths + number * its.width - 1)
        .. string.sub(chunk, begin, begin + nbytes - 1)
end

local function messages_of(chunk, its)
    local found, begin, format = {}, its.payload, its.width == 2 and '<I2' or '<I4'
    for place = 0, its.count - 1 do
        local size = struct.unpack(format, chunk, its.lengths + place * its.width)
        found[place + 1] = string.sub(chunk, begin, begin + size - 1)
        begin = begin + size
    end
    return found
end

local function messages_in(body)
    local chunk = '\0\0\0\0\0\0\0\0' .. body
    return messages_of(chunk, record(chunk, 1))
end

local function body_of(messages)
    local nbytes, format, mark, lengths = 0, '<I2', 0, {}
    for _, message in ipairs(messages) do
        nbytes = nbytes + #message
        if #message > 65535 then
            format, mark = '<I4', WIDE
        end
    end
    for place, message in ipairs(messages) do
        lengths[place] = struct.pack(format, #message)
    end
    return struct.pack('<I4I4', #messages + mark, nbytes) .. table.concat(lengths) .. table.concat(messages)
end
