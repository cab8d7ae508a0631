-- The content goes elsewhere: `Movable.leave`, `stay`, `is_as_it_was` and `hand_over`. On partition 0.
-- keys: STATE SLEEPERS SLEEPS
-- needs: base frees sleepers gate
-- args: move, step (leave, stay, note or hand_over), to, content (what there is, of a note)
-- Returns 1, 0 where another move has to do with the storage, where the step can not be done any more, or where there was
-- something else when it was first noted.
local mine = state.leaving and state.leaving_by == args.move
if args.step == 'leave' and not mine then
    if state.leaving or state.arriving then
        return 0
    end
    state.leaving, state.leaving_by, state.left, state.noted = args.to, args.move, nil, nil
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
elseif args.step == 'note' then
    state.noted = state.noted or args.content
    if state.noted ~= args.content then
        return 0
    end
elseif args.step == 'hand_over' and not state.left then
    state.left = true
    change_gate()
end
save()
return 1
