-- Messages of schedules come into their tubes, each once for each time.
-- keys: STATE THREADS CHUNKS LIVE READY TIMERS OWNERS EQUAL DUE AGAIN WAITING WAITS STARVED SLEEPERS SLEEPS TALLIES CAME
-- needs: base frees records sleepers tallies threads equal tubes room pending
-- args: times, a list of: number of the entry, the due time at which it comes, the next one (false: never again); most
-- A time that finds no room waits in STARVED until messages leave.
if state.leaving or state.arriving then
    return 0
end

-- The time waits for room: with those that were tried since room was made, where some are.
local function starve(number, due_us)
    local untried = state.tried and redis.call('ZRANGE', STARVED, state.tried, state.tried, 'WITHSCORES')
    redis.call('ZREM', AGAIN, number)
    redis.call('ZADD', STARVED, due_us, number)
    local its_us = untried and tonumber(untried[2] or math.huge)
    if untried and (due_us < its_us or (due_us == its_us and number < untried[1])) then
        state.tried = state.tried + 1
    end
end

for _, time in ipairs(args.times) do
    local number, due_us, next_us = time[1], time[2], time[3]
    local entry = entry_of(number)
    if entry and entry.due_us == due_us and redis.call('ZSCORE', AGAIN, number) then
        local _, nbytes = size_of(entry.body)
        if next_us and not fits(nbytes, args.most) then
            starve(number, due_us)
        else
            if next_us then
                entry.due_us = next_us
                store_entry(number, entry)
                redis.call('ZADD', AGAIN, next_us, number)
                count('used', nbytes)
            else
                forget_entry(AGAIN_AND_AGAIN, AGAIN, number, entry)
                count('recurrent', -1)
            end
            come(entry.pipe, entry.body)
        end
    end
end
feed_starved()
commit()
return 1
