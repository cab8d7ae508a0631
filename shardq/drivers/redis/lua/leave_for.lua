-- The content goes elsewhere: `Movable.leave`, `stay` and `hand_over`.
-- keys: STATE SLEEPERS SLEEPS
-- needs: base frees sleepers
-- args: move, step (leave, stay or hand_over), to
-- Returns 1, 0 where another move has to do with the storage, or where the step can not be done any more.
local mine = state.leaving and state.leaving_by == args.move
if args.step == 'leave' then
    if not mine and (state.leaving or state.arriving) then
        return 0
    end
    if not mine then
        state.leaving, state.leaving_by, state.left = args.to, args.move, nil
    end
    wake_everyone()
elseif args.step == 'stay' then
    if state.left then
        return 0
    end
    if mine then
        state.leaving = nil
        wake_everyone()
    end
elseif not mine then
    return 0
else
    state.left = true
end
save()
return 1
