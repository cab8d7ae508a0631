-- The content goes elsewhere: `Movable.leave`, `stay`, `is_as_it_was`, `hand_over` and `take_back`. On partition 0.
-- keys: STATE SLEEPERS SLEEPS
-- needs: base frees sleepers gate
-- args: move, step (leave, stay, note, hand_over or take_back), to, content (what there is, of a note)
-- Returns 1, 0 where another move has to do with the storage, where the step can not be done any more, or where there was
-- something else when it was first noted.
local mine = state.leaving and state.leaving_by == args.move
if args.step == 'leave' and not mine then
    if state.leaving or state.arriving then
        return 0
    end
    state.leaving, state.leaving_by, state.left, state.noted = args.to, args.move, nil, nil
    change_gate()
elseif args.step == 'stay' or args.step == 'take_back' then
    if state.left and args.step == 'stay' then
        return 0
    end
    if mine then
        state.leaving, state.left = nil, nil
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
