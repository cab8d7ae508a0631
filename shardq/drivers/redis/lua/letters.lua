-- Letters of a grave: `Storage.range`.
-- keys: GRAVES LETTERS
-- needs: texts
-- args: grave, limit, after (nil: from the first)
-- Returns, for each, its number and the letter.
local prefix, found = args.grave .. '\0', {}
local from = args.after and '(' .. prefix .. sortable(args.after) or '[' .. prefix
for _, place in ipairs(redis.call('ZRANGEBYLEX', GRAVES, from, '(' .. args.grave .. '\1', 'LIMIT', 0, args.limit)) do
    found[#found + 1] = string.sub(place, #prefix + 1)
    found[#found + 1] = redis.call('HGET', LETTERS, place)
end
return found
