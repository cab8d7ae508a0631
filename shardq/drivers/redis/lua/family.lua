-- What a family says of itself and of workers that died, and that it is no more.
-- keys: STATE SLEEPS FAMILIES GONE
-- needs: base frees families
-- args: one of: family (see shared/families.lua), left (the mark of one that ended); deaths (how many workers of the
--   family died that were not counted yet, by how)
if args.left then
    forget_family(args.left)
else
    note_family(args.family)
end
if args.deaths then
    state.deaths = state.deaths or {}
    for how, number in pairs(args.deaths) do
        state.deaths[how] = (state.deaths[how] or 0) + number
    end
    save()
end
return 1
