-- The figures of another storage are taken over, once: `Movable.settle`.
-- keys: STATE
-- needs: base
-- args: move, number, token, buried, evicted, letter (number of the last one that came into any partition)
if state.arriving and state.arriving_by == args.move and figure('arrived') <= args.number then
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
