-- Messages of a tube, as a look: `Storage.range`.
-- keys: THREADS CHUNKS
-- needs: texts records threads tubes
-- args: key, names (of its tubes, in their order), limit, after
-- Returns records. Where `after` is given they are of the last of these tubes that has any.
local its, found, number, last = look_at(args.key), {}, 0, nil
for _, name in ipairs(args.names) do
    if its and its.tubes[name] and its.tubes[name].count > 0 then
        last = name
    end
end
for _, name in ipairs(args.names) do
    local tube = its and its.tubes[name]
    if tube and tube.count > 0 and number < args.limit and (not args.after or name == last) then
        local from = math.max(tube.head, (args.after or 0) + 1)
        each_record(its, name, tube, from, function(chunk, its_record)
            local skip = math.max(0, from - its_record.first)
            local some = math.min(its_record.count - skip, args.limit - number)
            found[#found + 1] = part_of(chunk, its_record, skip, some)
            number = number + some
            return number >= args.limit
        end)
    end
end
return found
