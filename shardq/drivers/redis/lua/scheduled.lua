-- Messages that come again and again, the next due first: `Storage.scheduled`.
-- keys: AGAIN STARVED WAITING
-- needs: texts pending
-- args: limit, after (due time and number of the last one before; nil: from the first)
-- Returns, for each: due time and number, pipe, schedule, body.
local found = {}
for _, key in ipairs({AGAIN, STARVED}) do
    local from = args.after and rank_behind(key, args.after[1], args.after[2]) or 0
    for _, number in ipairs(redis.call('ZRANGE', key, from, from + args.limit - 1)) do
        local entry = entry_of(number)
        found[#found + 1] = cmsgpack.pack({entry.due_us, number, entry.pipe, entry.schedule})
        found[#found + 1] = entry.body
    end
end
return found
