-- The content of another storage comes, has come, or is not to come after all: `Movable.arrive`, `open` and `clear`.
-- keys: STATE SLEEPERS SLEEPS
-- needs: base frees sleepers
-- args: move, step (arrive, open or clear), come_from
-- Returns 1, 0 where another move has to do with the storage, or there is anything in it.
local mine = figure('arriving_by') == args.move
if args.step ~= 'arrive' then
    if state.arriving and mine then
        state.arriving = nil
        wake_everyone()
        if args.step == 'clear' then
            state.arriving_by = nil
        end
        save()
    end
    return mine and 1 or 0
end
if state.arriving then
    return mine and 1 or 0
end
local stored = figure('accepted') - figure('handled') + figure('deferred') + figure('recurrent') + figure('dead')
if mine or stored > 0 or (state.leaving and not state.left) then
    return 0
end
state.leaving, state.left = nil, nil
state.arriving, state.arriving_by, state.arrived, state.come_from = true, args.move, 0, args.come_from
save()
return 1
