-- What a worker without a supervisor says of itself, and that a family is no more.
-- keys: STATE SLEEPS FAMILIES GONE
-- needs: base frees families
-- args: one of: family (see shared/families.lua), left (the mark of one that ended)
if args.left then
    forget_family(args.left)
else
    note_family(args.family)
end
return 1
