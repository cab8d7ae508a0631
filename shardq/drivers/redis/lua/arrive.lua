-- The content of another storage comes, or has come: `Movable.arrive` and `open`; or what came
-- is about to be dropped in all partitions, and cannot be opened any more (`clear`). On partition 0.
-- keys: STATE SLEEPERS SLEEPS
-- needs: base frees sleepers gate
-- args: move, step (arrive, open or drop), come_from
-- Returns 1, 0 where another move has to do with the storage, or there is anything in the partition,
-- or where it is no arrival of this move.
local mine = figure('arriving_by') == args.move
if args.step == 'drop' then
    state.dropped = state.arriving and mine or nil
    save()
    return state.dropped and 1 or 0
end
if args.step == 'open' then
    if state.dropped then
        return 0
    end
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
