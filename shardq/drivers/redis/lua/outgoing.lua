-- What is on its way to the next target, the oldest first.
-- keys: STATE OUTBOX OUTWARD
-- needs: base
-- args: after (a target; nil: from the first), own (this partition)
-- Returns the targets to which room is lent; the target, then of each entry its number and the entry, some at most, but none
-- where the target is this partition: see `unfold.lua`. Without a target there is none.
local found, nbytes, borrowers = {}, 0, {}
for target in pairs(state.lent or {}) do
    borrowers[#borrowers + 1] = target
end
local from = args.after and '(' .. string.format('%05.0f', args.after) .. '\1' or '-'
for _, place in ipairs(redis.call('ZRANGEBYLEX', OUTWARD, from, '+', 'LIMIT', 0, 32)) do
    local target, number = string.match(place, '^(%d+)%z(%d+)$')
    target, number = int(tonumber(target)), int(tonumber(number))
    if nbytes > 1000000 or found[1] and found[1] ~= target then
        break
    end
    found[1] = target
    if args.own and target == int(args.own) then
        break
    end
    local entry = redis.call('HGET', OUTBOX, target .. ':' .. number)
    found[#found + 1], found[#found + 2] = number, entry
    nbytes = nbytes + #entry
end
table.insert(found, 1, borrowers)
return found
