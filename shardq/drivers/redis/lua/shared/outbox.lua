-- What is on its way to other partitions. OUTBOX has the entries by `target:number`; OUTWARD, sorted as text, target and
-- number. Messages on their way are counted as accepted here until the other partition has them.
--
-- What was accepted finds room everywhere, so that partitions that are full never wait for one another. Where it comes to
-- a full one its room stays taken here, too: `state.lent` has by target how many bytes that are, and `used` counts them.
-- There `state.borrowed` has how many came. Outputs have to fit neither beside these nor beside what is lent.
--
-- An entry: what is said of it, after the size of that (4 bytes), and its bodies, as records with the number 0. It says:
-- pipes, absent and due_us (by pipe; nil: none), front.
-- keys: OUTBOX OUTWARD
local function outward_prefix(target)
    return string.format('%05.0f', target) .. '\0'
end

local function outbox_field(target, number)
    return int(target) .. ':' .. int(number)
end

-- What is said of an entry, and its bodies.
local function entry_away(stored)
    local size = struct.unpack('<I4', stored)
    local said, bodies, at = cmsgpack.unpack(string.sub(stored, 5, 4 + size)), {}, 5 + size
    while at <= #stored do
        local found = record(stored, at)
        bodies[#bodies + 1] = string.sub(stored, at + 8, found.after - 1)
        at = found.after
    end
    return said, bodies
end

local function size_of_all(bodies)
    local number, nbytes = 0, 0
    for _, body in ipairs(bodies) do
        local some, their_bytes = size_of(body)
        number, nbytes = number + some, nbytes + their_bytes
    end
    return number, nbytes
end

-- How many of the messages of these bodies go to inboxes, by their pipes.
local function replies_among(pipes, bodies)
    local number = 0
    for place, body in ipairs(bodies) do
        number = number + (is_inbox(pipes[place]) and size_of(body) or 0)
    end
    return number
end

local function put_away(target, said, bodies)
    state.away = math.max(figure('away') + 1, latest)
    local parts, number, nbytes = {}, size_of_all(bodies)
    for place, body in ipairs(bodies) do
        parts[place] = '\0\0\0\0\0\0\0\0' .. body
    end
    local packed = cmsgpack.pack(said)
    redis.call('HSET', OUTBOX, outbox_field(target, state.away), struct.pack('<I4', #packed) .. packed .. table.concat(parts))
    redis.call('ZADD', OUTWARD, 0, outward_prefix(target) .. sortable(state.away))
    count('accepted', number)
    count('replies', replies_among(said.pipes, bodies))
    count('used', nbytes)
end

-- How many bytes the partition has, and lends, beyond `most`. No more than that is borrowed.
local function excess(most)
    local over = most and math.max(0, figure('used') - most) or 0
    state.borrowed = over > 0 and math.min(figure('borrowed'), over) or nil
    return over
end

local function lend(target, nbytes)
    state.lent = state.lent or {}
    state.lent[int(target)] = (state.lent[int(target)] or 0) + nbytes
end

-- The target has so many bytes beyond its room yet: what is lent beyond that is taken back.
local function take_back(target, over)
    local nbytes = state.lent and state.lent[int(target)]
    if nbytes and nbytes > over then
        count('used', over - nbytes)
        state.lent[int(target)] = over > 0 and over or nil
        state.lent = next(state.lent) and state.lent
    end
end
