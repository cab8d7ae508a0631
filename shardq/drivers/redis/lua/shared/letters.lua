-- Dead letters, and results that are kept for tickets, in a grave of their own. GRAVES has, sorted as text, each grave's
-- pipe and the number of a letter; LETTERS has the letter under the same name, and under the pipe how many bytes the grave
-- has. RESULTS has, by the name of a result, the place of the latest one of this name.
-- keys: GRAVES LETTERS RESULTS
local KEPT, NAME_BYTES = 'shardq.results.tickets/Ticket/kept/0', 19

local function place_of(grave, number)
    return grave .. '\0' .. sortable(number)
end

local function grave_bytes(grave)
    return tonumber(redis.call('HGET', LETTERS, grave) or 0)
end

-- What of the figures says how many letters a grave has, or all of them but results.
local function figure_of(grave)
    return grave == KEPT and 'kept' or 'dead'
end

-- A result that leaves is found by its name no more.
local function forget_name(result, place)
    local name = string.sub(result, 1, NAME_BYTES)
    if redis.call('HGET', RESULTS, name) == place then
        redis.call('HDEL', RESULTS, name)
    end
end

-- These letters leave, some hundred at most. Returns how many of them were there, and their bytes.
local function drop_letters(grave, places)
    if not places[1] then
        return 0, 0
    end
    local gone, nbytes, known = {}, 0, {}
    for number, letter in ipairs(redis.call('HMGET', LETTERS, unpack(places))) do
        local place = places[number]
        if letter and not known[place] then
            gone[#gone + 1], nbytes, known[place] = place, nbytes + #letter, true
            if grave == KEPT then
                forget_name(letter, place)
            end
        end
    end
    if not gone[1] then
        return 0, 0
    end
    redis.call('HDEL', LETTERS, unpack(gone))
    redis.call('ZREM', GRAVES, unpack(gone))
    if redis.call('HINCRBY', LETTERS, grave, 0 - nbytes) == 0 and not first_with(GRAVES, grave .. '\0') then
        redis.call('HDEL', LETTERS, grave)
    end
    count('used', -nbytes)
    count(figure_of(grave), -#gone)
    return #gone, nbytes
end

-- The number of a letter says which partition has it: it is that, divided by how many there are, with a remainder. It
-- also says when it came. `where`: partition, partitions.
local function add_letter(grave, letter, where)
    state.letter = math.max(figure('letter') + 1, math.floor(latest / where.partitions))
    local place = place_of(grave, state.letter * where.partitions + where.partition)
    redis.call('HSET', LETTERS, place, letter)
    redis.call('HINCRBY', LETTERS, grave, #letter)
    redis.call('ZADD', GRAVES, 0, place)
    if grave == KEPT then
        redis.call('HSET', RESULTS, string.sub(letter, 1, NAME_BYTES), place)
    end
    count('used', #letter)
    count(figure_of(grave), 1)
end

-- Drop letters of a grave, the oldest first, until one that takes so many bytes more may be there and has room, or until
-- so many went as a short script can drop. `bound`: capacity, most_letters, most_bytes (of the grave). Returns how many
-- went, and whether it has room; nil, and drops none, where there is no room even so.
local MOST_DROPPED = 64
local function make_room(grave, nbytes, bound)
    local held, gone, dropped = grave_bytes(grave), 0, 0
    if not fits(nbytes - held, bound.capacity) then
        return nil
    end
    local first, last = '[' .. grave .. '\0', '(' .. grave .. '\1'
    local number = redis.call('ZLEXCOUNT', GRAVES, first, last)
    while number > 0 do
        local too_large = bound.most_bytes and held - gone + nbytes > bound.most_bytes
        if fits(nbytes, bound.capacity) and number < bound.most_letters and not too_large then
            break
        end
        if dropped == MOST_DROPPED then
            return dropped, false
        end
        -- As many as there are too many; then one by one, until there is room.
        local some = math.max(1, math.min(number - bound.most_letters + 1, MOST_DROPPED - dropped))
        local _, their_bytes = drop_letters(grave, redis.call('ZRANGEBYLEX', GRAVES, first, last, 'LIMIT', 0, some))
        number, dropped, gone = number - some, dropped + some, gone + their_bytes
    end
    return dropped, true
end
