-- The content of another storage comes, or has come: `Movable.arrive` and `open`. On partition 0.
-- keys: STATE SLEEPERS SLEEPS
-- needs: base frees sleepers gate
-- args: move, step (arrive or open), come_from
-- Returns 1, 0 where another move has to do with the storage, or there is anything in the partition.
local mine = figure('arriving_by') == args.move
if args.step == 'open' then
    if state.arriving and mine then
        state.arriving = nil
        change_gate()
    end
    save()
    return mine and 1 or 0
end
if state.arriving then
    save()
    return mine and 1 or 0
end
if mine or not is_empty() or (state.leaving and not state.left) then
    return 0
end
state.leaving, state.left = nil, nil
state.arriving, state.arriving_by, state.arrived, state.come_from = true, args.move, 0, args.come_from
change_gate()
return 1
