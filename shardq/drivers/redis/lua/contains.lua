-- Whether a tube has an equal message: `Storage.contains`.
-- keys: THREADS CHUNKS
-- needs: texts records threads tubes
-- args: key, name, from (a number; nil: from the head)
-- ARGV[2]: the message. Returns -1 where it is there, 0 where it is not, else from where to look on.
local its, wanted, budget = look_at(args.key), untraced(ARGV[2]), 8192
local tube = its and its.tubes[args.name]
local result = 0
if tube and tube.count > 0 then
    local from = math.max(tube.head, args.from or 0)
    each_record(its, args.name, tube, from, function(chunk, found)
        for place, message in ipairs(messages_of(chunk, found)) do
            if untraced(message) == wanted and found.first + place > from then
                result = -1
                return true
            end
        end
        budget = budget - found.count
        if budget <= 0 then
            result = found.first + found.count
            return true
        end
    end)
end
return result
