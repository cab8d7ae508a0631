-- How many messages a tube has: `Storage.length`.
-- keys: THREADS
-- needs: texts threads
-- args: key, names
local its, number = look_at(args.key), 0
for _, name in ipairs(args.names) do
    local tube = its and its.tubes[name]
    number = number + (tube and tube.count or 0)
end
return number
