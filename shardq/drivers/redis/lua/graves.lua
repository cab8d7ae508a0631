-- Graves with letters, in their order: `Storage.graves`.
-- keys: GRAVES
-- needs: texts
-- args: after (nil: from the first), limit
local found, from = {}, args.after and '(' .. args.after .. '\1' or '-'
while #found < args.limit do
    local place = redis.call('ZRANGEBYLEX', GRAVES, from, '+', 'LIMIT', 0, 1)[1]
    if not place then
        break
    end
    found[#found + 1] = string.match(place, '^([^%z]*)')
    from = '(' .. found[#found] .. '\1'
end
return found
