-- The partition stands as partition 0 does from now on: see `shared/gate.lua`.
-- keys: STATE SLEEPERS SLEEPS
-- needs: base frees sleepers gate
-- args: gate (what STATE of partition 0 has of it, with `number`)
-- Returns 1, 0 where content is to come and there is anything in the partition.
local its = args.gate
if its.number < figure('gate') then
    return 1
end
local comes = its.arriving and not (state.arriving and state.arriving_by == its.arriving_by)
if comes and not is_empty() then
    return 0
end
if comes then
    state.arrived = 0
elseif its.number == figure('gate') then
    save()
    return 1
end
state.leaving, state.leaving_by, state.left = its.leaving, its.leaving_by, its.left
state.arriving, state.arriving_by, state.come_from = its.arriving, its.arriving_by, its.come_from
change_gate(its.number)
return 1
