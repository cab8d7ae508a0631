-- Graves with letters, in their order: `Storage.graves`. Results that are kept are no letters.
-- keys: GRAVES
-- needs: texts letters
-- args: after (nil: from the first), limit
local found, from = {}, args.after and '(' .. args.after .. '\1' or '-'
while #found < args.limit do
    local place = redis.call('ZRANGEBYLEX', GRAVES, from, '+', 'LIMIT', 0, 1)[1]
    if not place then
        break
    end
    local grave = string.match(place, '^([^%z]*)')
    if grave ~= KEPT then
        found[#found + 1] = grave
    end
    from = '(' .. grave .. '\1'
end
return found
