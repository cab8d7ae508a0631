-- The content goes elsewhere: `Movable.leave`, `stay` and `hand_over`. On partition 0.
-- keys: STATE SLEEPERS SLEEPS
-- needs: base frees sleepers gate
-- args: move, step (leave, stay or hand_over), to
-- Returns 1, 0 where another move has to do with the storage, or where the step can not be done any more.
local mine = state.leaving and state.leaving_by == args.move
if args.step == 'leave' and not mine then
    if state.leaving or state.arriving then
        return 0
    end
    state.leaving, state.leaving_by, state.left = args.to, args.move, nil
    change_gate()
elseif args.step == 'stay' then
    if state.left then
        return 0
    end
    if mine then
        state.leaving = nil
        change_gate()
    end
elseif not mine then
    return 0
elseif args.step == 'hand_over' and not state.left then
    state.left = true
    change_gate()
end
save()
return 1
