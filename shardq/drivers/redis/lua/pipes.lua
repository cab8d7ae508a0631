-- Tubes that are not empty, thread by thread: `Storage.pipes`.
-- keys: LIVE THREADS
-- needs: texts threads
-- args: after (a key; nil: from the first), limit
-- Returns a list for each thread: its key, and its pipes.
local found, number = {}, 0
local from = args.after and '(' .. args.after or '-'
for _, key in ipairs(redis.call('ZRANGEBYLEX', LIVE, from, '+', 'LIMIT', 0, args.limit)) do
    if number >= args.limit then
        break
    end
    local its, seen = look_at(key), {}
    local listed = {key}
    for name, tube in pairs(its.tubes) do
        local pipe = key .. '/' .. string.gsub(name, '^f', '')
        if tube.count > 0 and not seen[pipe] then
            seen[pipe] = true
            listed[#listed + 1] = pipe
            number = number + 1
        end
    end
    found[#found + 1] = listed
end
return found
