-- The time and the figures of the partition, and how this script's changes are written back. Where the content goes
-- elsewhere, `state.leaving` says where to; `LEFT URL` is what a script replies then that brings in or hands out anything.
-- While content of another storage comes, `state.arriving` stands. `state.pauses` has the handlers that are paused: see
-- `pause.lua`.
-- keys: STATE
local args = cmsgpack.unpack(ARGV[1])
local state = redis.call('GET', STATE)
state = state and cmsgpack.unpack(state) or {}
local clock = redis.call('TIME')
-- Unix microseconds by the clock of the server. It may be set back: times follow it, or what ends would end late.
local now = clock[1] * 1000000 + clock[2]
-- The same for numbers, which never go back.
local latest = math.max(now, state.clock or 0)

-- Text of a whole number. Lua's own has 14 digits.
local function int(number)
    return string.format('%.0f', number)
end

-- The same, so that texts sort as their numbers do.
local function sortable(number)
    return string.format('%016.0f', number)
end

local function count(figure, by)
    state[figure] = (state[figure] or 0) + by
end

local function figure(name)
    return state[name] or 0
end

-- Whether what is in a tube, or in the tubes of a thread, are replies for a caller, and no requests.
local INBOX = 'shardq.results.inbox/Inbox/'
local function is_inbox(name)
    return string.sub(name, 1, #INBOX) == INBOX
end

local function save()
    state.clock = latest
    redis.call('SET', STATE, cmsgpack.pack(state))
end

-- How the partition stands, as far as a move is concerned.
local function standing()
    if state.arriving then
        return 'arriving'
    end
    return state.leaving and (state.left and 'left' or 'leaving') or 'open'
end

-- Whether nothing of a handler is handed out.
local function is_paused(handler)
    local its = state.pauses and state.pauses[handler]
    return its and not (its.until_us and its.until_us <= now)
end

-- `member` of a sorted set whose members are sorted as text: the first that begins with `prefix`, behind `after`.
local function first_with(key, prefix, after)
    local from = after and '(' .. after or '[' .. prefix
    return redis.call('ZRANGEBYLEX', key, from, '(' .. prefix .. '\255', 'LIMIT', 0, 1)[1]
end
