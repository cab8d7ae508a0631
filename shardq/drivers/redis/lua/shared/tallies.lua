-- What is counted of each handler, for operators. What is frequent costs no script anything but one command for each call
-- that stores: workers count what they did, and say it about once a second, with a turn.
--
-- CAME has how many requests came, by handler. TALLIES has by handler: how many were counted, by a mark; for how long the
-- oldest messages of batches had waited when they were handed out, and batches were in hand (waited_us, worked_us); how
-- often such a time fell into a bucket, by `w` or `k` and its number (see `shardq.model.tallies`); and rates of what came
-- and what was done (`came_per_s`, `done_per_s`), as of `rated_us`, when so many had come (`came`).
-- keys: STATE TALLIES CAME
local DONE, DEAD, CANCELLED = 'd', 'x', 'c'
local REASONS = {raised = 'R', died = 'D', timeout = 'T', undecodable = 'U'}
local MOST_TALLIED, OTHER_HANDLERS = 254, 'other'
local came = {}

-- Add what was counted of a handler to its sums, and bring its rates to this moment. Those of handlers beyond so many are
-- in one.
local function tally(handler, counted)
    local SPAN_S = 10
    local stored = redis.call('HGET', TALLIES, handler)
    if not stored and redis.call('HLEN', TALLIES) >= MOST_TALLIED then
        handler = OTHER_HANDLERS
        stored = redis.call('HGET', TALLIES, handler)
    end
    local sums = stored and cmsgpack.unpack(stored) or {came_per_s = 0, done_per_s = 0, rated_us = now, came = 0}
    for name, by in pairs(counted) do
        sums[name] = (sums[name] or 0) + by
    end
    local number = tonumber(redis.call('HGET', CAME, handler) or 0)
    local gone_s = math.max(0, now - sums.rated_us) / 1000000
    local left, since = math.exp(-gone_s / SPAN_S), number - sums.came
    sums.came_per_s = gone_s > SPAN_S and since / gone_s or sums.came_per_s * left + since / SPAN_S
    sums.done_per_s = sums.done_per_s * left + (counted[DONE] or 0) / SPAN_S
    sums.rated_us, sums.came = now, number
    redis.call('HSET', TALLIES, handler, cmsgpack.pack(sums))
end

-- Count a few that are rare.
local function tally_some(mark, handler, number)
    if handler .. '/' ~= INBOX then
        tally(handler, {[mark] = number})
    end
end

-- What workers say that they did.
local function tally_all(counted)
    for handler, its in pairs(counted or {}) do
        tally(handler, its)
    end
end

local function count_came(handler, number)
    local is_new = redis.call('HINCRBY', CAME, handler, number) == number
    if is_new and redis.call('HLEN', CAME) > MOST_TALLIED then
        redis.call('HDEL', CAME, handler)
        handler, is_new = OTHER_HANDLERS, false
        redis.call('HINCRBY', CAME, handler, number)
    end
    -- Without sums there is no rate: those of a new one are begun at once.
    local is_due = math.abs(now - figure('rated')) >= 1000000
    if is_due then
        state.rated = now
    end
    if is_due or is_new then
        tally(handler, {})
    end
end

local function note_came()
    for handler, number in pairs(came) do
        count_came(handler, number)
    end
end
