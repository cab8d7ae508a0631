-- Room for messages, and the end of all work: what is told of when messages leave.
-- keys: AGAIN STARVED

-- Whether so many bytes more fit below a bound, nil: there is none. While content of another storage comes there is room
-- for nothing else.
local function fits(nbytes, most)
    return not state.arriving and (not most or figure('used') + nbytes <= most)
end

-- What a script returns that finds no room.
local function without_room()
    return args.sleeper and {-1, lie_down_in_turn(args.sleeper, {ROOM})} or -1
end

-- Have some schedules come whose time found no room. There may be many: `come.lua` has the next ones follow. Since room
-- was made the first `state.tried` of STARVED found none; nil: all that are there.
local function feed_starved()
    local some = state.tried and redis.call('ZRANGE', STARVED, state.tried, state.tried + 63, 'WITHSCORES') or {}
    for place = 1, #some, 2 do
        redis.call('ZADD', AGAIN, some[place + 1], some[place])
        redis.call('ZREM', STARVED, some[place])
    end
    if not some[1] then
        state.tried = nil
    end
    return some[1] ~= nil
end

-- What left may have made room, and may have been the last.
local function tell_of_room()
    state.tried = 0
    if feed_starved() then
        wake_timekeeper()
    end
    wake_for_room(64)
    if figure('accepted') == figure('handled') then
        wake_all(QUIET)
        if figure('deferred') == 0 then
            wake_all(ALL_DONE)
        end
    end
end
