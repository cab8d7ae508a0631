-- Messages that wait for their time, the first due first: `Movable.waiting`.
-- keys: DUE AGAIN STARVED WAITING
-- needs: texts pending
-- args: set (1, 2 or 3: of the first three keys), from (a place in it, from 0), limit
-- Returns, for each entry: pipe, due time and schedule; body.
local found = {}
for _, number in ipairs(redis.call('ZRANGE', KEYS[args.set], args.from, args.from + args.limit - 1)) do
    local entry = entry_of(number)
    found[#found + 1] = cmsgpack.pack({entry.pipe, entry.due_us, entry.schedule or ''})
    found[#found + 1] = entry.body
end
return found
