-- The figures of another storage are taken over, once: `Movable.settle`.
-- keys: STATE SLEEPS
-- needs: base frees
-- args: move, number, token, buried, evicted, letter (number of the last one that came into any partition), known (how
--   many messages of the move were said to be here)
-- Returns 1, -2 where the storage takes nothing of this move, -3 where the partition has less than it said.
if figure('arriving_by') ~= args.move then
    return -2
end
if figure('arrived') < args.known then
    return -3
end
if state.arriving and figure('arrived') <= args.number then
    state.token = math.max(figure('token'), args.token)
    state.letter = math.max(figure('letter'), args.letter)
    for _, of in ipairs({'accepted', 'handled', 'buried'}) do
        count(of, args.buried)
    end
    count('evicted', args.evicted)
    state.arrived = args.number + 1
end
save()
return 1
