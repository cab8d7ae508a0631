-- Tubes: chunks of records, by the number of the chunk. Small calls for one tube share a chunk.
--
-- The number of a message is a time, or a little more, so that none is given twice: not even where a replica takes the
-- place of its server and lacks what came last.
--
-- Of a tube its thread's record has: count, head (messages below that number have left), next (number of the next
-- message), first and last (chunks), tail (bytes of the last chunk), indexed (see equal.lua), what is in hand, and
-- failures: handed_to, handed_from, handed_us, handed_through, handed_count, handed_bytes, full (so many chunks from the first on are in hand as
-- a whole; nil: not known), small, small_through, failed.
-- keys: CHUNKS TALLIES CAME
local CHUNK_BYTES = 1024

local function chunk_field(its, name, number)
    return int(its.id) .. ':' .. name .. ':' .. int(number)
end

local function chunk_of(its, name, number)
    return redis.call('HGET', CHUNKS, chunk_field(its, name, number))
end

local function drop_chunks(its, name, from, to)
    local fields = {}
    for number = from, to do
        fields[#fields + 1] = chunk_field(its, name, number)
        if #fields == 100 or number == to then
            redis.call('HDEL', CHUNKS, unpack(fields))
            fields = {}
        end
    end
end

local function sibling(its, name)
    local plain = string.match(name, '^f(.*)$')
    return its.tubes[plain or 'f' .. name]
end

local function tube_of(its, name)
    local tube = its.tubes[name]
    if tube then
        return tube
    end
    if not its.id then
        count('threads', 1)
        its.id = state.threads
    end
    local first, beside = math.max(figure('sequence'), latest), sibling(its, name)
    tube = {
        count = 0, head = first, next = first, first = 1, last = 0, tail = 0, indexed = beside and beside.indexed and first,
        handed_to = 0, handed_through = 0, handed_count = 0, handed_bytes = 0,
    }
    its.tubes[name] = tube
    return tube
end

-- The first chunk that may have messages from this number on.
local function chunk_from(its, name, tube, from)
    local low, high = tube.first, tube.last
    while low < high do
        local middle = math.ceil((low + high) / 2)
        if record(chunk_of(its, name, middle), 1).first <= from then
            low = middle
        else
            high = middle - 1
        end
    end
    return low
end

-- Calls `visit` with a chunk, a record in it and the chunk's number, for each record that has messages from this number
-- on, until it returns true.
local function each_record(its, name, tube, from, visit)
    local start = from > tube.head and chunk_from(its, name, tube, from) or tube.first
    for number = start, tube.last do
        local chunk, at = chunk_of(its, name, number), 1
        while at <= #chunk do
            local found = record(chunk, at)
            if found.count > 0 and found.first + found.count > from and visit(chunk, found, number) then
                return
            end
            at = found.after
        end
    end
end

-- So many messages a script counts that come into indexed tubes. Others are counted when their equals are asked for.
local left_to_count = 1024

-- Messages come into a tube of a thread.
local function add(key, its, name, body)
    local tube = tube_of(its, name)
    local number, nbytes = size_of(body)
    -- What comes from another storage has numbers that follow one another: its state says so.
    local first = state.arriving and tube.next or math.max(tube.next, latest)
    local added = struct.pack('<I8', first) .. body
    local open = tube.last >= tube.first + (tube.full or 0) and tube.tail + #added <= CHUNK_BYTES
    if open then
        local field = chunk_field(its, name, tube.last)
        redis.call('HSET', CHUNKS, field, redis.call('HGET', CHUNKS, field) .. added)
        tube.tail = tube.tail + #added
    else
        tube.last, tube.tail = tube.last + 1, #added
        redis.call('HSET', CHUNKS, chunk_field(its, name, tube.last), added)
    end
    if tube.indexed == tube.next and left_to_count > 0 then
        note_equal(its, name, messages_in(body), 1)
        tube.indexed, left_to_count = first + number, left_to_count - number
    end
    tube.next, tube.count, its.queued = first + number, tube.count + number, its.queued + number
    count('accepted', number)
    count('used', nbytes)
    if is_inbox(key) then
        count('replies', number)
    else
        local handler = handler_of(key)
        came[handler] = (came[handler] or 0) + number
    end
    if its.queued == number then
        redis.call('ZADD', LIVE, 0, key)
        got_work(key, its)
    end
end

-- Messages come into the tube of a pipe. `absent`: they have no equal; of an empty tube such are counted from now on.
local function arrive(pipe, body, absent)
    local key, name = split_pipe(pipe)
    local its = thread(key)
    local tube = absent and tube_of(its, name)
    if tube and tube.count == 0 and not tube.indexed then
        tube.indexed = tube.next
    end
    add(key, its, name, body)
end

-- Whether there are messages of a tube below that number.
local function stands_below(its, name, through)
    local tube, stands = its.tubes[name], false
    if tube and through > tube.head then
        each_record(its, name, tube, tube.head, function(_, found)
            stands = math.max(found.first, tube.head) < through
            return true
        end)
    end
    return stands
end

-- So many messages with so many bytes have left their tube.
local function left(key, its, number, nbytes)
    if number == 0 then
        return
    end
    its.queued = its.queued - number
    count('handled', number)
    count('replies_taken', is_inbox(key) and number or 0)
    count('used', -nbytes)
    if its.queued == 0 then
        redis.call('ZREM', LIVE, key)
        withdraw(key, its)
    end
end

-- Those below this number leave the tube. Returns how many that were.
local function drop_below(key, its, name, through)
    local tube = its.tubes[name]
    if not tube or through <= tube.head then
        return 0
    end
    local number, nbytes = 0, 0
    if tube.full and tube.handed_to == its.token and through == tube.handed_through and not tube.indexed then
        number, nbytes = tube.handed_count, tube.handed_bytes
        drop_chunks(its, name, tube.first, tube.first + tube.full - 1)
        tube.first = tube.first + tube.full
    else
        local first = tube.last + 1
        each_record(its, name, tube, tube.head, function(chunk, found, place)
            if found.first >= through then
                first = place
                return true
            end
            local skip = math.max(0, tube.head - found.first)
            local gone = math.min(found.count, through - found.first) - skip
            number, nbytes = number + gone, nbytes + bytes_of(chunk, found, skip, gone)
            if tube.indexed then
                local messages, known = {}, tube.indexed - found.first
                for at, message in ipairs(messages_of(chunk, found)) do
                    if at > skip and at <= skip + gone and at <= known then
                        messages[#messages + 1] = message
                    end
                end
                note_equal(its, name, messages, -1)
            end
            if skip + gone < found.count then
                first = place
                return true
            end
        end)
        drop_chunks(its, name, tube.first, first - 1)
        tube.first = first
    end
    tube.head, tube.count, tube.full = through, tube.count - number, nil
    if tube.count == 0 then
        drop_chunks(its, name, tube.first, tube.last)
        tube.first, tube.head = tube.last + 1, math.max(tube.head, tube.next)
    end
    if tube.indexed then
        tube.indexed = math.max(tube.indexed, tube.head)
    end
    tube.handed_count = math.max(0, tube.handed_count - number)
    left(key, its, number, nbytes)
    return number
end

-- Messages of a tube to handle, at most so many, as records; with what has to be said of them. nil: there are none.
local function take(its, name, limit)
    local tube = its.tubes[name]
    if not tube or tube.count == 0 or limit <= 0 then
        return nil
    end
    local batch, number, nbytes, full = {records = {}}, 0, 0, 0
    each_record(its, name, tube, tube.head, function(chunk, found, place)
        local skip = math.max(0, tube.head - found.first)
        if not batch.first then
            batch.first = found.first + skip
            if tube.small_through and tube.small_through > batch.first then
                limit = math.min(limit, tube.small)
            end
            if tube.failed and tube.failed.number == batch.first then
                limit, batch.failed = math.min(limit, 1), tube.failed
            end
        end
        local some = math.min(found.count - skip, limit - number)
        batch.records[#batch.records + 1] = part_of(chunk, found, skip, some)
        number, nbytes = number + some, nbytes + bytes_of(chunk, found, skip, some)
        batch.through = found.first + skip + some
        if skip + some == found.count and found.after > #chunk then
            full = place - tube.first + 1
        end
        return number >= limit
    end)
    if tube.handed_to ~= its.token or batch.through >= tube.handed_through then
        tube.handed_to, tube.handed_from, tube.handed_through = its.token, batch.first, batch.through
        tube.handed_us = now
        tube.handed_count = number
        tube.handed_bytes, tube.full = nbytes, full
    end
    return batch
end

-- Whether the holder speaks of more than it has in hand: a replica took the place of its server, and lacks what came last.
local function is_beyond_hand(its, name, through)
    local tube = its.tubes[name]
    local in_hand = tube and tube.handed_to == its.token and tube.handed_count > 0
    return in_hand and through > math.max(tube.head, tube.handed_through)
end

-- Whether a batch that the holder was handed, from this number on, may leave through that one. Before it there may be
-- messages again that had left, for the same reason.
local function may_leave(its, name, from, through)
    local tube = its.tubes[name]
    if is_beyond_hand(its, name, through) then
        return false
    end
    return tube and tube.handed_to == its.token and tube.handed_from == from or not stands_below(its, name, from)
end

-- Below that number the messages of the tube are in the hands of the thread's holder.
local function in_hand_below(its, tube)
    return its.token > 0 and tube.handed_to == its.token and tube.handed_count > 0 and tube.handed_through or 0
end
