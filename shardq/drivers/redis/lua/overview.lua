-- What stands at this moment, for operators.
-- keys: STATE THREADS READY OWNERS SLEEPS FAMILIES DUE AGAIN
-- needs: base threads pending
-- args: after (of the claims that were returned before; nil: from the first), limit
-- Returns figures: now, used, sleepers, claims (a list of: owner, key, token, messages in hand, whether its lease
-- stands, the number of the first in hand, and when they were handed out), after (where there may be more claims),
-- standing, to (where the content goes), next_due (Unix microseconds, where something waits for its time), ready, bound
-- and resting (how many threads are), deaths (how many workers died, by how; in one partition); then, with the first
-- claims, the mark and the words of each family.
local claims, after = {}, nil
local from = args.after and '(' .. args.after or '-'
local members = redis.call('ZRANGEBYLEX', OWNERS, from, '+', 'LIMIT', 0, args.limit)
for _, member in ipairs(members) do
    local owner, key = string.match(member, '^([^%z]*)%z(.*)$')
    local its = look_at(key)
    if its and its.owner == owner then
        local in_hand, first, since = 0, 0, 0
        for _, tube in pairs(its.tubes) do
            if tube.handed_to == its.token and tube.handed_count > 0 then
                in_hand, first, since = in_hand + tube.handed_count, tube.handed_from, tube.handed_us or now
            end
        end
        claims[#claims + 1] = {owner, key, its.token, in_hand, its.lease_end > now, first, since}
    end
    after = member
end
local told = {now = now, used = figure('used'), sleepers = redis.call('HLEN', SLEEPS), claims = claims}
told.standing, told.to, told.next_due = standing(), state.leaving, next_due()
told.ready, told.bound = redis.call('ZLEXCOUNT', READY, '-', '+'), redis.call('ZLEXCOUNT', OWNERS, '-', '+')
-- A thread that is neither, and is not forgotten, has a pause.
told.resting, told.deaths = math.max(0, redis.call('HLEN', THREADS) - told.ready - told.bound), state.deaths
told.after = #members == args.limit and after or nil
local reply = {cmsgpack.pack(told)}
for _, word in ipairs(args.after and {} or redis.call('HGETALL', FAMILIES)) do
    reply[#reply + 1] = word
end
return reply
