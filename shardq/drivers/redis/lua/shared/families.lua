-- Families: a supervisor with its workers, or a worker without a supervisor. FAMILIES has by its mark what each said of
-- itself last, and GONE when it counts as gone. One that is gone is forgotten when the next one says something.
-- keys: FAMILIES GONE
local MOST_FAMILIES = 1024

local function forget_family(mark)
    redis.call('ZREM', GONE, mark)
    redis.call('HDEL', FAMILIES, mark)
end

-- What a family says: mark, gone_us (it counts as gone where it says nothing more for so long), said (a map).
local function note_family(family)
    for _, mark in ipairs(redis.call('ZRANGEBYSCORE', GONE, '-inf', now, 'LIMIT', 0, 64)) do
        forget_family(mark)
    end
    if redis.call('HLEN', FAMILIES) >= MOST_FAMILIES and redis.call('HEXISTS', FAMILIES, family.mark) == 0 then
        forget_family(redis.call('ZRANGE', GONE, 0, 0)[1])
    end
    family.said.heard_us = now
    redis.call('HSET', FAMILIES, family.mark, cmsgpack.pack(family.said))
    redis.call('ZADD', GONE, now + family.gone_us, family.mark)
end
