-- What was counted of each handler.
-- keys: STATE TALLIES CAME
-- needs: base
-- args: none
-- Returns the time; of how many handlers something came, and of each its name and how many; then of each handler its name
-- and its sums: see `shared/tallies.lua`.
local came = redis.call('HGETALL', CAME)
local reply = {int(now), #came / 2}
for _, words in ipairs({came, redis.call('HGETALL', TALLIES)}) do
    for _, word in ipairs(words) do
        reply[#reply + 1] = word
    end
end
return reply
