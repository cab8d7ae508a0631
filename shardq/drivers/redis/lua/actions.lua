-- The last actions of operators, the latest first: `Auditable.actions`.
-- keys: STATE ACTIONS
-- needs: base
-- args: most (actions that are remembered), limit
-- Returns them as they stand in ACTIONS: see `record.lua`.
local last, fields = figure('actions'), {}
for number = last, math.max(1, last - math.min(args.limit, args.most) + 1), -1 do
    fields[#fields + 1] = int(number % args.most)
end
return #fields > 0 and redis.call('HMGET', ACTIONS, unpack(fields)) or {}
