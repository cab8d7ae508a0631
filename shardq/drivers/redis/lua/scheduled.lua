-- Messages that come again and again, the next due first: `Storage.scheduled`.
-- keys: AGAIN STARVED WAITING
-- needs: texts pending
-- args: limit, after (due time and number of the last one before; nil: from the first)
-- Returns, for each: due time and number, pipe, schedule, body.
local found = {}
for _, key in ipairs({AGAIN, STARVED}) do
    local from, begin = args.after and int(args.after[1]) or '-inf', 0
    local number = 0
    while number < args.limit do
        local some = redis.call('ZRANGEBYSCORE', key, from, '+inf', 'LIMIT', begin, 64)
        for _, place in ipairs(some) do
            local entry = entry_of(place)
            local later = not args.after or entry.due_us > args.after[1] or place > args.after[2]
            if later and number < args.limit then
                found[#found + 1] = cmsgpack.pack({entry.due_us, place, entry.pipe, entry.schedule})
                found[#found + 1] = entry.body
                number = number + 1
            end
        end
        if #some < 64 then
            break
        end
        begin = begin + 64
    end
end
return found
