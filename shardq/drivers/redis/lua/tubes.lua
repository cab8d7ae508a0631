-- Tubes that are not empty, thread by thread, and what is known of the messages at their heads: `Movable.tubes`.
-- keys: LIVE THREADS
-- needs: texts threads
-- args: after (a key; nil: from the first), limit (of threads)
-- Returns for each thread: its key, and what is said of it.
local found = {}
local from = args.after and '(' .. args.after or '-'
for _, key in ipairs(redis.call('ZRANGEBYLEX', LIVE, from, '+', 'LIMIT', 0, args.limit)) do
    local its, said = look_at(key), {}
    for name, tube in pairs(its.tubes) do
        if tube.count > 0 then
            said[name] = {
                count = tube.count, head = tube.head, failed = tube.failed,
                small = tube.small, small_through = tube.small_through,
            }
        end
    end
    found[#found + 1] = key
    found[#found + 1] = cmsgpack.pack({tubes = said, pause_end = its.pause_end})
end
return found
