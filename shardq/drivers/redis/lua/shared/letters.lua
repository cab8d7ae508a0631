-- Dead letters. GRAVES has, sorted as text, each grave's pipe and the number of a letter; LETTERS has the letter under
-- the same name, and under the pipe how many bytes the grave has.
-- keys: GRAVES LETTERS
local function place_of(grave, number)
    return grave .. '\0' .. sortable(number)
end

local function grave_bytes(grave)
    return tonumber(redis.call('HGET', LETTERS, grave) or 0)
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
    count('dead', -#gone)
    return #gone, nbytes
end

-- The number of a letter says which partition has it: it is that, divided by how many there are, with a remainder.
local function add_letter(grave, letter)
    state.letter = math.max(figure('letter') + 1, math.floor(now / args.partitions))
    local place = place_of(grave, state.letter * args.partitions + args.partition)
    redis.call('HSET', LETTERS, place, letter)
    redis.call('HINCRBY', LETTERS, grave, #letter)
    redis.call('ZADD', GRAVES, 0, place)
    count('used', #letter)
    count('dead', 1)
end

-- Drop letters of a grave, the oldest first, until one that takes so many bytes more may be there and has room, or until
-- so many went as a short script can drop. Returns how many went, and whether it has room; nil, and drops none, where
-- there is no room even so.
local MOST_DROPPED = 64
local function make_room(grave, nbytes)
    local held, gone, dropped = grave_bytes(grave), 0, 0
    if not fits(nbytes - held, args.capacity) then
        return nil
    end
    local first, last = '[' .. grave .. '\0', '(' .. grave .. '\1'
    local number = redis.call('ZLEXCOUNT', GRAVES, first, last)
    while number > 0 do
        local too_large = args.most_bytes and held - gone + nbytes > args.most_bytes
        if fits(nbytes, args.capacity) and number < args.most_letters and not too_large then
            break
        end
        if dropped == MOST_DROPPED then
            return dropped, false
        end
        -- As many as there are too many; then one by one, until there is room.
        local some = math.max(1, math.min(number - args.most_letters + 1, MOST_DROPPED - dropped))
        local _, their_bytes = drop_letters(grave, redis.call('ZRANGEBYLEX', GRAVES, first, last, 'LIMIT', 0, some))
        number, dropped, gone = number - some, dropped + some, gone + their_bytes
    end
    return dropped, true
end
