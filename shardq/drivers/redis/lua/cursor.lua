-- Which entry was the last that came from another partition. It is written anew, so that copies of this confirm copies of
-- what came with it.
-- keys: SLEEPS CURSORS
-- needs: frees
-- args: source (a partition)
-- Returns its number; 0: none came.
local args = cmsgpack.unpack(ARGV[1])
local last = redis.call('HGET', CURSORS, args.source) or '0'
redis.call('HSET', CURSORS, args.source, last)
return tonumber(last)
