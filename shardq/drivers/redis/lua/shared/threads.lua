-- Threads: one record for each that has messages, a claim or a pause. All else is derived from it: READY has those that
-- can be claimed, TIMERS when a lease or a pause ends, LIVE those that have messages, OWNERS the claims of each owner.
--
-- A record: id, token (0: free), owner (of the claim), excused (whether its end is planned), lease_end, pause_end, turn
-- (its place in READY, while it is there), batches (how many were taken), queued (messages), bell (the sleeper that is
-- bound to it), caller and call (of its last turn: see `note_turn`), tubes by name: the priority, with an `f` before it for
-- what is in front of the tube.
-- keys: THREADS READY TIMERS OWNERS LIVE TALLIES CAME
local loaded = {}

local function handler_of(key)
    return string.match(key, '^(.*)/')
end

local function split_pipe(pipe)
    return string.match(pipe, '^(.*)/([^/]*)$')
end

local function ready_member(key, turn)
    return handler_of(key) .. '\0' .. sortable(turn) .. '\0' .. key
end

-- Offer the thread after all that are offered. One that was returned before comes also after those that become ready
-- within this time.
local ROUND_US = 1000000

local function offer(key, its)
    state.turn = math.max(figure('turn') + 1, latest)
    local returned = its.turn
    if returned then
        redis.call('ZREM', READY, ready_member(key, returned))
    end
    its.turn = state.turn + (returned and ROUND_US or 0)
    redis.call('ZADD', READY, 0, ready_member(key, its.turn))
end

local function withdraw(key, its)
    if its.turn then
        redis.call('ZREM', READY, ready_member(key, its.turn))
        its.turn = nil
    end
end

-- The thread has its first message, or has messages and lost its claim or its pause.
local function got_work(key, its)
    local paused = is_paused(handler_of(key))
    if its.token == 0 and not its.pause_end then
        offer(key, its)
        if not paused then
            wake_for(handler_of(key))
        end
    elseif its.bell and not paused then
        ring(its.bell)
        its.bell = nil
    end
end

-- Take back what is in hand of a tube. Until it has left, batches have at most so many messages.
local function give_back(tube, token, at_most)
    if tube.handed_to == token and tube.handed_count > 0 then
        tube.small = math.max(1, at_most)
        tube.small_through = math.max(tube.small_through or 0, tube.handed_through)
        tube.handed_to, tube.full = 0, nil
    end
end

-- Take back what is in hand of a tube, as failed. Returns whether it was a message alone, whose failures are counted.
local function fail(tube, token, ending)
    if tube.handed_to ~= token or tube.handed_count ~= 1 then
        give_back(tube, token, 1)
        return false
    end
    local number = tube.handed_through - 1
    local before = tube.failed
    if not before or before.number ~= number then
        before = {number = number, attempts = 0, first_us = now}
    end
    tube.handed_to, tube.full = 0, nil
    tube.failed = {
        number = number, attempts = before.attempts + 1, first_us = before.first_us, last_us = now, ending = ending,
    }
    return true
end

local function end_claim(key, its)
    if its.owner then
        redis.call('ZREM', OWNERS, its.owner .. '\0' .. key)
    end
    its.token, its.owner, its.excused, its.lease_end, its.bell = 0, nil, nil, nil, nil
    its.caller, its.call = nil, nil
    if its.pause_end then
        redis.call('ZADD', TIMERS, its.pause_end, key)
    else
        redis.call('ZREM', TIMERS, key)
    end
    if its.queued > 0 then
        got_work(key, its)
    end
end

-- The holder of the claim is dead: what it has in hand failed, unless its end was planned.
local function end_claim_of_dead(key, its, ending)
    for _, tube in pairs(its.excused and {} or its.tubes) do
        if tube.handed_to == its.token and tube.handed_count > 0 then
            tally_some(ending.timed_out and REASONS.timeout or REASONS.died, handler_of(key), 1)
        end
        fail(tube, its.token, ending)
    end
    end_claim(key, its)
end

local function begin_claim(key, its, lease_us)
    withdraw(key, its)
    its.pause_end = nil
    state.token = math.max(figure('token') + 1, latest)
    its.token, its.lease_end = state.token, now + lease_us
    redis.call('ZADD', TIMERS, its.lease_end, key)
    its.owner = args.owner
    if its.owner then
        redis.call('ZADD', OWNERS, 0, its.owner .. '\0' .. key)
    end
end

-- The thread as it is now: a lease or a pause that is over has ended. An unknown one is empty.
local function thread(key)
    local its = loaded[key]
    if its then
        return its
    end
    local stored = redis.call('HGET', THREADS, key)
    its = stored and cmsgpack.unpack(stored) or {token = 0, batches = 0, queued = 0, tubes = {}}
    loaded[key] = its
    if its.token > 0 and its.lease_end <= now then
        end_claim_of_dead(key, its, {})
    elseif its.pause_end and its.pause_end <= now then
        its.pause_end = nil
        redis.call('ZREM', TIMERS, key)
        if its.queued > 0 then
            got_work(key, its)
        end
    end
    return its
end

-- The thread as it is stored, for a look: nil where it is unknown.
local function look_at(key)
    local stored = redis.call('HGET', THREADS, key)
    return stored and cmsgpack.unpack(stored)
end

-- The thread if the token is its current one; else nil. A script that gets nil changes nothing, and replies `fenced`.
local function held(key, token)
    local its = thread(key)
    return its.token == token and token > 0 and its or nil
end

-- Note who turns or takes, and refuse a turn that comes behind a later one. Its caller gave it up, and works on what that
-- one handed out: this one would leave the thread meanwhile. Returns whether it was made before.
local function note_turn(its)
    local same = args.producer and its.caller == args.producer
    if same and args.call < its.call then
        error('LATE: a later turn came before this one')
    end
    local again = same and args.call == its.call
    its.caller, its.call = args.producer, args.call
    return again
end

-- End the pauses of handlers that are over.
local function end_pauses()
    for handler, its in pairs(state.pauses or {}) do
        if its.until_us and its.until_us <= now then
            state.pauses[handler] = nil
            wake_everyone()
        end
    end
end

-- End the leases and pauses that are over. A lease that was renewed stands in TIMERS with an end of before.
local function end_what_is_over()
    end_pauses()
    for _, key in ipairs(redis.call('ZRANGEBYSCORE', TIMERS, '-inf', now, 'LIMIT', 0, 64)) do
        local its = thread(key)
        local ends = its.token > 0 and its.lease_end or its.pause_end
        if ends then
            redis.call('ZADD', TIMERS, ends, key)
        else
            redis.call('ZREM', TIMERS, key)
        end
    end
end

-- Write back what this script changed.
local function commit()
    for key, its in pairs(loaded) do
        if its.queued == 0 and its.token == 0 and not its.pause_end then
            for _, tube in pairs(its.tubes) do
                state.sequence = math.max(figure('sequence'), tube.next)
            end
            redis.call('HDEL', THREADS, key)
        else
            redis.call('HSET', THREADS, key, cmsgpack.pack(its))
        end
    end
    note_came()
    save()
end

local function fenced(key, token)
    commit()
    return redis.error_reply('FENCED token ' .. int(token) .. ' is not the current claim on ' .. key)
end
