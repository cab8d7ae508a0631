-- Dead letters. GRAVES has, sorted as text, each grave's pipe and the number of a letter; LETTERS has the letter under
-- the same name, and under the pipe how many bytes the grave has.
-- keys: GRAVES LETTERS
local function place_of(grave, number)
    return grave .. '\0' .. sortable(number)
end

local function grave_bytes(grave)
    return tonumber(redis.call('HGET', LETTERS, grave) or 0)
end

-- A letter leaves. Returns its bytes; nil: it is not there.
local function drop_letter(grave, place)
    local letter = redis.call('HGET', LETTERS, place)
    if not letter then
        return nil
    end
    redis.call('HDEL', LETTERS, place)
    redis.call('ZREM', GRAVES, place)
    if redis.call('HINCRBY', LETTERS, grave, 0 - #letter) == 0 and not first_with(GRAVES, grave .. '\0') then
        redis.call('HDEL', LETTERS, grave)
    end
    count('used', -#letter)
    count('dead', -1)
    return #letter
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
local MOST_DROPPED = 128
local function make_room(grave, nbytes)
    local held, gone, dropped = grave_bytes(grave), 0, 0
    if not fits(nbytes - held, args.capacity) then
        return nil
    end
    local number = redis.call('ZLEXCOUNT', GRAVES, '[' .. grave .. '\0', '(' .. grave .. '\1')
    while number > 0 do
        local too_large = args.most_bytes and held - gone + nbytes > args.most_bytes
        if fits(nbytes, args.capacity) and number < args.most_letters and not too_large then
            break
        end
        if dropped == MOST_DROPPED then
            return dropped, false
        end
        gone = gone + drop_letter(grave, first_with(GRAVES, grave .. '\0'))
        number, dropped = number - 1, dropped + 1
    end
    return dropped, true
end
