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

-- What left may have made room, and may have been the last.
local function tell_of_room()
    if redis.call('EXISTS', STARVED) == 1 then
        redis.call('ZUNIONSTORE', AGAIN, 2, AGAIN, STARVED)
        redis.call('DEL', STARVED)
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
